//! Asks cargo for the crates of the workspace.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

/// What cargo compiles as one crate: a library, a program or an example.
pub(super) struct Target {
    pub(super) package: String,
    pub(super) name: String,
    /// Its first file.
    pub(super) root: PathBuf,
}

/// Lists all targets except in tests and benches.
pub(super) fn targets() -> Vec<Target> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata failed");
    let workspace: Workspace = serde_json::from_slice(&output.stdout).unwrap();

    let mut targets = Vec::new();
    for package in workspace.packages {
        for target in package.targets {
            if ["lib", "bin", "example"].contains(&&*target.kind[0]) {
                targets.push(Target {
                    package: package.name.clone(),
                    name: target.name,
                    root: target.src_path,
                });
            }
        }
    }
    targets
}

#[derive(Deserialize)]
struct Workspace {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<CargoTarget>,
}

#[derive(Deserialize)]
struct CargoTarget {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

#[test]
fn a_folder_below_crates_is_among_the_targets() {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let targets = targets();
    for folder in std::fs::read_dir(crates).unwrap() {
        let folder = folder.unwrap().path().canonicalize().unwrap();
        assert!(
            targets
                .iter()
                .any(|target| target.root.starts_with(&folder)),
            "no target of {} is looked at",
            folder.display()
        );
    }
}
