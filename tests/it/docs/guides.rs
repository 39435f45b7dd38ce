//! The guides say what a reader has to know.

use super::pages::{read, root};

/// req 0.19, req 0.21, req 4.13, req 4.14: each pooler with its modes and settings.
#[test]
fn the_poolers_are_told() {
    assert_says(
        "docs/poolers.md",
        &[
            "PgBouncer",
            "Pgpool-II",
            "Supavisor",
            "Neon",
            "RDS Proxy",
            "session",
            "transaction",
            "statement",
            "default_pool_size",
            "min_pool_size",
            "reserve_pool_size",
            "server_idle_timeout",
            "server_check_query",
            "ALTER ROLE",
        ],
    );
}

/// req 0.20, req 0.32, req 1.19, req 1.20: what serverless platforms ask for, and what to measure.
#[test]
fn serverless_platforms_are_told() {
    assert_says(
        "docs/serverless.md",
        &[
            "Lambda",
            "Hyperdrive",
            "cold start",
            "provisioned concurrency",
            "through a pooler",
            "< 10 %",
            "< 100 ms",
            "< 50 ms",
            "outside the handler",
            "HTTP",
        ],
    );
}

/// req 0.39, req 4.37, req 4.38: guides to sizing, serverless platforms and errors, with the usual mistakes.
#[test]
fn the_guides_are_there() {
    assert_says(
        "docs/pooling.md",
        &["One pool for everything", "No lifetime"],
    );
    assert_says("docs/serverless.md", &["min_idle"]);
    assert_says("docs/errors.md", &["OutcomeUnknown", "Busy"]);
}

/// docs.rs has only the crate, so a link that leaves it leads nowhere.
#[test]
fn each_crate_opens_with_its_readme() {
    let mut crates = 0;
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let opens = ["lib.rs", "main.rs"].iter().any(|file| {
            let source = std::fs::read_to_string(folder.join("src").join(file));
            source.is_ok_and(|text| text.starts_with("#![doc = include_str!(\"../README.md\")]"))
        });
        assert!(opens, "{}", folder.display());
        let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
        let leaves = readme.lines().find(|line| line.contains("](."));
        assert!(leaves.is_none(), "{}: {leaves:?}", folder.display());
        crates += 1;
    }
    assert_eq!(crates, 8);
}

fn assert_says(page: &str, said: &[&str]) {
    let text = read(page);
    let missing: Vec<_> = said.iter().filter(|said| !text.contains(**said)).collect();
    assert!(missing.is_empty(), "{page} says nothing of {missing:?}");
}
