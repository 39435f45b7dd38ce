//! Every link of the documents leads somewhere, and a link that names a test leads to that test.

use std::path::{Path, PathBuf};

use super::pages::{documents, read, root};

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    let mut followed = 0;
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().unwrap();
        for (label, target) in links(&text) {
            followed += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match path {
                "" => document.clone(),
                path => folder.join(path),
            };
            if !root().join(&path).exists() {
                faults.push(format!("{}: {target} does not exist", document.display()));
            } else if let Some(fault) = wrong(&path, label, anchor) {
                faults.push(format!("{}: {fault}", document.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(followed > 50, "{followed} links are too few to be all");
}

/// What is wrong with a link to a file that exists.
fn wrong(path: &PathBuf, label: &str, anchor: &str) -> Option<String> {
    let is = |ending: &str| path.extension().is_some_and(|found| found == ending);
    if !anchor.is_empty() && is("md") && !headings(&read(path)).any(|heading| heading == anchor) {
        return Some(format!("{} has no heading #{anchor}", path.display()));
    }
    let test = label.strip_prefix('`')?.strip_suffix('`')?;
    let names_test = is("rs") && test.contains('_') && path.starts_with("tests") | in_parent(path);
    let has_it = || read(path).contains(&format!("fn {test}("));
    (names_test && !has_it()).then(|| format!("{} has no test {test}", path.display()))
}

fn in_parent(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
}

/// The label and the target of each link inside the repository. Links in code blocks do not count.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if is_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let Some((target, _)) = line[at + 2..].split_once(')') else {
                continue;
            };
            let label = line[..at].rsplit_once('[').map_or("", |(_, label)| label);
            let is_elsewhere =
                target.contains("://") || target.contains("::") || target.contains(' ');
            if !is_elsewhere {
                found.push((label, target));
            }
        }
    }
    found
}

/// The anchors of a page, as GitHub makes them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        kept.map(|char| if char == ' ' { '-' } else { char })
            .collect()
    })
}

#[test]
fn links_are_found() {
    let text = "see [a](b.md), [`c_d`](tests/e.rs#f)\n```\n[no](no)\n```\n[x](https://x) [y](crate::Y)\n## A `b` and, c";
    assert_eq!(links(text), [("a", "b.md"), ("`c_d`", "tests/e.rs#f")]);
    assert_eq!(headings(text).collect::<Vec<_>>(), ["a-b-and-c"]);
    let this = PathBuf::from("tests/it/docs/links.rs");
    assert_eq!(wrong(&this, "`links_are_found`", ""), None);
    assert!(wrong(&this, "`no_such_test`", "").is_some());
    assert!(wrong(&PathBuf::from("README.md"), "x", "no-such-heading").is_some());
}
