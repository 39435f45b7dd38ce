//! The graph of files that need each other, and its cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Each edge leads from a file to a file that it needs, and lists the names that it takes.
#[derive(Default)]
pub(super) struct Graph {
    edges: BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>,
}

impl Graph {
    /// Notes that `from` takes `name` from `to`. A file's own names are ignored.
    pub(super) fn add(&mut self, from: &Path, to: &Path, name: &str) {
        if from != to {
            let edges = self.edges.entry(from.to_owned()).or_default();
            let names = edges.entry(to.to_owned()).or_default();
            names.insert(name.to_owned());
        }
    }

    /// Finds each set of files in which every file needs every other one, directly or through others.
    pub(super) fn cycles(&self) -> Vec<BTreeSet<PathBuf>> {
        let reached: BTreeMap<_, _> = self
            .edges
            .keys()
            .map(|file| (file, self.reached(file)))
            .collect();
        let mut cycles = BTreeSet::new();
        for (file, from_here) in &reached {
            let mutual = from_here
                .iter()
                .filter(|other| reached.get(other).is_some_and(|back| back.contains(*file)));
            let cycle: BTreeSet<PathBuf> = mutual.cloned().collect();
            if !cycle.is_empty() {
                cycles.insert(cycle);
            }
        }
        cycles.into_iter().collect()
    }

    /// Lists the edges within a cycle.
    pub(super) fn report(&self, cycle: &BTreeSet<PathBuf>) -> String {
        let mut report = format!("{} files need each other:\n", cycle.len());
        for (from, to, names) in self.edges_within(cycle) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let (from, to) = (from.display(), to.display());
            writeln!(report, "  {from} → {to}: {}", names.join(", ")).unwrap();
        }
        report
    }

    fn edges_within<'a>(
        &'a self,
        cycle: &'a BTreeSet<PathBuf>,
    ) -> impl Iterator<Item = (&'a PathBuf, &'a PathBuf, &'a BTreeSet<String>)> {
        let outgoing = cycle
            .iter()
            .filter_map(|from| Some((from, self.edges.get(from)?)));
        outgoing.flat_map(move |(from, edges)| {
            let inner = edges.iter().filter(|(to, _)| cycle.contains(*to));
            inner.map(move |(to, names)| (from, to, names))
        })
    }

    /// Finds all files that `start` needs, directly or through others.
    fn reached(&self, start: &Path) -> BTreeSet<PathBuf> {
        let mut reached = BTreeSet::new();
        let mut next = vec![start];
        while let Some(file) = next.pop() {
            for needed in self.edges.get(file).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(needed.clone()) {
                    next.push(needed);
                }
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in edges {
            graph.add(Path::new(from), Path::new(to), "Name");
        }
        graph
    }

    fn cycles(edges: &[(&str, &str)]) -> Vec<Vec<String>> {
        let cycles = graph(edges).cycles();
        let names = |cycle: &BTreeSet<PathBuf>| {
            cycle
                .iter()
                .map(|file| file.display().to_string())
                .collect()
        };
        cycles.iter().map(names).collect()
    }

    #[test]
    fn storeys_are_no_cycle() {
        let house = [
            ("roof", "floor"),
            ("floor", "cellar"),
            ("roof", "cellar"),
            ("cellar", "cellar"),
        ];
        assert_eq!(cycles(&house), Vec::<Vec<String>>::new());
    }

    #[test]
    fn two_files_are_a_cycle() {
        assert_eq!(
            cycles(&[("a", "b"), ("b", "a"), ("roof", "a")]),
            [["a", "b"]]
        );
    }

    #[test]
    fn three_files_are_a_cycle() {
        let edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "cellar")];
        assert_eq!(cycles(&edges), [["a", "b", "c"]]);
    }

    #[test]
    fn two_cycles_are_told_apart() {
        let edges = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "c")];
        assert_eq!(cycles(&edges), [["a", "b"], ["c", "d"]]);
    }

    #[test]
    fn a_report_names_the_edges_of_the_cycle_only() {
        let mut graph = graph(&[("a", "b"), ("b", "a"), ("b", "cellar"), ("roof", "a")]);
        graph.add(Path::new("a"), Path::new("b"), "Other");
        let report = graph.report(&graph.cycles()[0]);
        assert_eq!(
            report,
            "2 files need each other:\n  a → b: Name, Other\n  b → a: Name\n"
        );
    }
}
