//! The quick start of README.md, as a newcomer runs it.

use std::process::Stdio;

use harness::{TestDatabase, wait_until};
use tokio::process::Command;

use super::pages::{blocks, read};
use crate::{SOON, programs};

/// The program that is printed is the example that is built; with the table that is printed it prints what the
/// page says.
#[tokio::test]
async fn the_quick_start_runs_as_printed() {
    let readme = read("README.md");
    let printed = &blocks(&readme, "rust")[0];
    let built = read("crates/app-db/examples/quick_start/as_printed.rs");
    assert_eq!(printed.trim(), built.trim());

    let db = TestDatabase::empty().await.unwrap();
    let table = &blocks(&readme, "sql")[0];
    db.connect()
        .await
        .unwrap()
        .batch_execute(table)
        .await
        .unwrap();
    for deposits in 1..=2 {
        let output = Command::new(programs::quick_start())
            .env_clear()
            .env("DATABASE_URL", db.url())
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            printed.trim(),
            (100 + 50 * deposits).to_string(),
            "{output:?}"
        );
    }
    assert!(readme.contains("cargo run` prints 150."));
    wait_until("its sessions have ended", SOON, async || {
        db.backends("app-db").await.unwrap().is_empty()
    })
    .await;
}

/// The printed dependencies are those that the example is built with: no newer one, and no further feature.
#[test]
fn the_printed_dependencies_are_enough() {
    let printed: toml::Table = toml::from_str(&blocks(&read("README.md"), "toml")[0]).unwrap();
    let ours: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let ours = &ours["workspace"]["dependencies"];
    let printed = printed["dependencies"].as_table().unwrap();
    let names: Vec<_> = printed.keys().map(String::as_str).collect();
    assert_eq!(names, ["app-db", "diesel", "diesel-async", "tokio"]);
    for (name, dependency) in printed.iter().skip(1) {
        let version = dependency["version"].as_str().unwrap();
        let needed = ours[name]["version"].as_str().unwrap();
        assert!(
            needed.starts_with(version),
            "{name} {version} does not let {needed} in"
        );
    }
    for name in ["diesel", "diesel-async"] {
        assert_eq!(
            printed[name]["default-features"], ours[name]["default-features"],
            "{name}"
        );
        assert_eq!(printed[name]["features"], ours[name]["features"], "{name}");
    }
}
