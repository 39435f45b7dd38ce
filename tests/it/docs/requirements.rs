//! docs/requirements.md lists every demand once, with a status that the tests bear out.

use std::collections::{BTreeMap, BTreeSet};

use super::pages::{cells, quoted, read};
use super::quotes::{Quotes, in_tests};

struct Demand<'p> {
    status: &'p str,
    tests: Vec<&'p str>,
    note: &'p str,
}

#[test]
fn each_status_is_borne_out_by_the_tests() {
    let page = read("docs/requirements.md");
    let demands = listed(&page);
    assert_eq!(
        demands.keys().copied().collect::<BTreeSet<_>>(),
        numbers().iter().map(|number| &**number).collect()
    );
    let (quotes, _) = in_tests();
    let faults: Vec<_> = faults(&demands, &quotes).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

fn listed(page: &str) -> BTreeMap<&str, Demand<'_>> {
    let mut demands = BTreeMap::new();
    for cells in page.lines().filter_map(cells) {
        let [number, _demand, status, shown] = &*cells else {
            continue;
        };
        let Some(number) = number
            .strip_prefix('`')
            .and_then(|number| number.strip_suffix('`'))
        else {
            continue;
        };
        let (tests, note) = shown.split_once(';').unwrap_or((shown, ""));
        let demand = match tests.starts_with('`') {
            true => Demand {
                status,
                tests: quoted(tests).collect(),
                note,
            },
            false => Demand {
                status,
                tests: Vec::new(),
                note: shown,
            },
        };
        let twice = demands.insert(number, demand);
        assert!(twice.is_none(), "{number} stands twice");
    }
    demands
}

/// The numbers that there are.
fn numbers() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (document, last) in [39, 20, 49, 41, 49].into_iter().enumerate() {
        all.extend((1..=last).map(|number| format!("req {document}.{number:02}")));
    }
    let cases = [1..=18, 20..=28, 30..=32, 40..=50, 60..=65, 70..=76];
    all.extend(
        cases
            .into_iter()
            .flatten()
            .map(|number| format!("case R{number:02}")),
    );
    all.extend((1..=15).map(|number| format!("case F{number}")));
    all
}

/// What is wrong with the page, one line each.
fn faults(demands: &BTreeMap<&str, Demand<'_>>, quotes: &Quotes) -> impl Iterator<Item = String> {
    demands.iter().filter_map(|(number, demand)| {
        let quoting = quotes.get(*number).map_or(&[][..], Vec::as_slice);
        let is_quoting = |test: &&str| quoting.iter().any(|quoting| quoting.name == **test);
        let unknown = demand.tests.iter().find(|test| !is_quoting(test));
        match demand.status {
            "done" if demand.tests.is_empty() => {
                Some(format!("{number} is done and names no test"))
            }
            "partial" | "open" | "refused" if demand.note.trim().is_empty() => Some(format!(
                "{number} is {} and does not say why",
                demand.status
            )),
            "open" | "refused" if !quoting.is_empty() => Some(format!(
                "{number} is {}, and {} in {} quotes it",
                demand.status,
                quoting[0].name,
                quoting[0].file.display()
            )),
            "done" | "partial" | "open" | "refused" => {
                unknown.map(|test| format!("{number} is not quoted by {test}"))
            }
            other => Some(format!("{number} is {other}, which is no status")),
        }
    })
}

#[test]
fn a_status_that_is_not_so_is_a_fault() {
    let quote = |number: &str| number.to_owned();
    let mut quotes = Quotes::new();
    let test = || super::quotes::QuotingTest {
        name: "it_works".into(),
        file: "x.rs".into(),
    };
    quotes.insert(quote("a"), vec![test()]);
    let faults_of = |row: &str| {
        let demands = listed(row);
        faults(&demands, &quotes).count()
    };
    for good in [
        "| `a` | x | done | `it_works` |",
        "| `a` | x | partial | `it_works`; the rest is not |",
        "| `b` | x | partial | said in a document |",
        "| `b` | x | open | not begun |",
        "| `b` | x | refused | out of scope |",
    ] {
        assert_eq!(faults_of(good), 0, "{good}");
    }
    for bad in [
        "| `a` | x | done | |",
        "| `a` | x | done | `it_fails` |",
        "| `b` | x | done | `it_works` |",
        "| `a` | x | partial | `it_works` |",
        "| `a` | x | open | not begun |",
        "| `a` | x | refused | out of scope |",
        "| `b` | x | refused | |",
        "| `b` | x | nearly | soon |",
    ] {
        assert_eq!(faults_of(bad), 1, "{bad}");
    }
}
