//! Each crate is built in storeys: its files do not need each other in a circle.
//!
//! The tests read sources and need no server: `cargo nextest run -p db-tests --test it storeys`.
//!
//! A file needs another one if it takes a name that the other one defines. The name may come through
//! re-exports. A file that only declares a module, or re-exports its names, does not need it. The tests do
//! not see method calls, because a call does not name the file of its method.

mod cycles;
mod imports;
mod modules;
mod names;
mod targets;

use std::path::Path;

use self::cycles::Graph;
use self::modules::Modules;
use self::targets::{Target, targets};

/// The packages that have tests of their own below.
const PACKAGES: [&str; 5] = ["app-db", "db-config", "db-pool", "db-tests", "dbctl"];

/// The examples of app-db.
const EXAMPLES: [&str; 2] = ["ledger", "orders"];

#[test]
fn db_config_is_built_in_storeys() {
    are_built_in_storeys(|target| target.package == "db-config");
}

#[test]
fn db_pool_is_built_in_storeys() {
    are_built_in_storeys(|target| target.package == "db-pool");
}

#[test]
fn app_db_is_built_in_storeys() {
    are_built_in_storeys(|target| target.package == "app-db" && !EXAMPLES.contains(&&*target.name));
}

#[test]
fn the_examples_are_built_in_storeys() {
    for example in EXAMPLES {
        are_built_in_storeys(|target| target.package == "app-db" && target.name == example);
    }
}

#[test]
fn dbctl_is_built_in_storeys() {
    are_built_in_storeys(|target| target.package == "dbctl");
}

#[test]
fn the_harness_and_the_demo_are_built_in_storeys() {
    are_built_in_storeys(|target| target.package == "db-tests");
}

#[test]
fn every_other_crate_is_built_in_storeys() {
    let others = |target: &Target| !PACKAGES.contains(&&*target.package);
    assert_no_cycles(targets().iter().filter(|target| others(target)));
}

fn are_built_in_storeys(chosen: impl Fn(&Target) -> bool) {
    let targets = targets();
    let chosen: Vec<_> = targets.iter().filter(|target| chosen(target)).collect();
    assert!(!chosen.is_empty(), "cargo knows no such crate");
    assert_no_cycles(chosen);
}

fn assert_no_cycles<'a>(targets: impl IntoIterator<Item = &'a Target>) {
    let mut reports = Vec::new();
    for target in targets {
        let graph = read_graph(&target.root);
        reports.extend(graph.cycles().iter().map(|cycle| graph.report(cycle)));
    }
    assert!(reports.is_empty(), "\n{}", reports.join("\n"));
}

/// Draws the graph of the crate whose first file is `root`. Paths in it start at the workspace.
fn read_graph(root: &Path) -> Graph {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let root = root.strip_prefix(workspace).unwrap();
    let modules = Modules::read(root, |path| {
        std::fs::read_to_string(workspace.join(path)).ok()
    });
    imports::graph(&modules)
}
