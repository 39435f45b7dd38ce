//! `dbctl migrate lint` beside other linters, on the statements of `tests/lint/cases`.
//!
//! `just lint-differential` asks squawk's own program anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::dbctl::Dbctl;

const LINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lint");

/// What ours finds: for each case the lines and rules. A case whose name ends with `.outside` runs outside a
/// transaction.
async fn ours() -> BTreeMap<String, BTreeSet<(u64, String)>> {
    let dbctl = Dbctl::new();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(Path::new(LINT).join("cases")).unwrap() {
        let path = entry.unwrap().path();
        let case = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let folder = format!("{}_{case}", found.len() + 1);
        dbctl.add_migration(&folder, &fs::read_to_string(&path).unwrap());
        let folder = dbctl.path("migrations").join(folder);
        fs::write(folder.join("down.sql"), "select 1").unwrap();
        if case.ends_with(".outside") {
            let outside = "run_in_transaction = false";
            fs::write(folder.join("metadata.toml"), outside).unwrap();
        }
        found.insert(case, BTreeSet::new());
    }
    let report = dbctl.run("migrate lint --format json").await.json();
    for finding in report["findings"].as_array().unwrap() {
        if finding["suppressed"].is_string() {
            continue;
        }
        let path = finding["path"].as_str().unwrap();
        let (_, case) = path.split('/').nth(1).unwrap().split_once('_').unwrap();
        let rule = finding["rule"].as_str().unwrap().to_owned();
        let line = finding["line"].as_u64().unwrap();
        found.get_mut(case).unwrap().insert((line, rule));
    }
    found
}

/// The rules that squawk does not have.
const OURS: &[&str] = &[
    "transaction-flag-mismatch",
    "several-statements-without-transaction",
    "backfill-beside-ddl",
    "serial-column-added",
    "refresh-without-concurrently",
    "truncated-table",
    "json-column-added",
];

/// What squawk finds and we do not, and why.
const ARGUED: &[(&str, &str, &str)] = &[
    (
        "add_index_concurrently.outside",
        "prefer-robust-stmts",
        REPEATABLE,
    ),
    (
        "add_index_concurrently_inside",
        "prefer-robust-stmts",
        REPEATABLE,
    ),
    ("add_index_wide.outside", "prefer-robust-stmts", REPEATABLE),
    (
        "drop_index_concurrently.outside",
        "prefer-robust-stmts",
        REPEATABLE,
    ),
];

const REPEATABLE: &str =
    "the migrator repeats a concurrent build, and IF NOT EXISTS would hide an invalid index";

#[tokio::test]
async fn squawks_own_program_finds_what_its_rules_find_here() {
    let answers = std::env::var_os("LINT_ANSWERS");
    let answers = answers.map_or_else(|| Path::new(LINT).join("squawk.json"), PathBuf::from);
    let answers: Value = serde_json::from_slice(&fs::read(answers).unwrap()).unwrap();
    let theirs: BTreeMap<String, BTreeSet<(u64, String)>> = answers
        .as_object()
        .unwrap()
        .iter()
        .map(|(case, found)| {
            let found = found.as_array().unwrap().iter().map(|one| {
                let (line, rule) = one.as_str().unwrap().split_once(' ').unwrap();
                (line.parse().unwrap(), rule.to_owned())
            });
            (case.clone(), found.collect())
        })
        .collect();
    let mut ours = ours().await;
    for found in ours.values_mut() {
        found.retain(|(_, rule)| !OURS.contains(&rule.as_str()));
    }
    for (case, rule, reason) in ARGUED {
        let finding = (1, (*rule).to_owned());
        let found = ours.get_mut(*case).unwrap();
        assert!(
            found.insert(finding),
            "{case}: {rule} is found, though {reason}"
        );
    }
    assert_eq!(ours, theirs);
}

/// What is expected of a case that another linter calls dangerous, or safe.
enum Expected {
    /// This rule.
    Found(&'static str),
    /// Nothing, though another linter says something, for this reason.
    Argued(&'static str),
    /// Nothing.
    Safe,
}

use Expected::{Argued, Found, Safe};

/// Each check that strong_migrations and diesel-guard document, and the safe way that they recommend.
const EXPECTED: &[(&str, Expected)] = &[
    ("add_check", Found("constraint-missing-not-valid")),
    ("add_check_not_valid", Safe),
    (
        "validate_beside_not_valid",
        Found("constraint-missing-not-valid"),
    ),
    ("add_column", Safe),
    (
        "add_column_constant_default",
        Argued("since PostgreSQL 11 a constant is stored once, and no row is written"),
    ),
    (
        "add_column_volatile_default",
        Found("adding-field-with-default"),
    ),
    ("add_column_not_null", Found("adding-required-field")),
    ("add_exclusion", Found("constraint-missing-not-valid")),
    ("add_foreign_key", Found("adding-foreign-key-constraint")),
    ("add_foreign_key_not_valid", Safe),
    (
        "add_reference_column",
        Found("adding-foreign-key-constraint"),
    ),
    ("add_generated", Found("adding-field-with-default")),
    ("add_identity", Found("adding-field-with-default")),
    ("add_index", Found("require-concurrent-index-creation")),
    ("add_index_concurrently.outside", Safe),
    (
        "add_index_concurrently_inside",
        Found("transaction-flag-mismatch"),
    ),
    ("add_index_on_new_table", Safe),
    (
        "add_index_wide.outside",
        Argued("an index of four columns costs more, but stops nobody"),
    ),
    ("add_json", Found("json-column-added")),
    ("add_jsonb", Safe),
    ("add_primary_key", Found("adding-serial-primary-key-field")),
    ("add_primary_key_using_index", Safe),
    ("add_serial", Found("serial-column-added")),
    ("add_unique", Found("disallowed-unique-constraint")),
    ("add_unique_using_index", Safe),
    ("alter_type", Found("changing-column-type")),
    ("backfill", Found("backfill-beside-ddl")),
    (
        "create_extension",
        Argued("whether the role may do it is found at once, and stops nobody"),
    ),
    ("create_table_short_key", Found("prefer-bigint-over-int")),
    (
        "create_table_without_key",
        Argued("tables without a key are legitimate, and nobody is stopped"),
    ),
    (
        "delete_everything",
        Argued("rows alone are locked; `migrate status` calls the migration destructive"),
    ),
    (
        "domain_check",
        Found("ban-alter-domain-with-add-constraint"),
    ),
    ("drop_column", Found("ban-drop-column")),
    ("drop_database.outside", Found("ban-drop-database")),
    ("drop_index", Found("require-concurrent-index-deletion")),
    ("drop_index_concurrently.outside", Safe),
    ("drop_not_null", Found("ban-drop-not-null")),
    ("drop_primary_key", Found("ban-drop-constraint")),
    ("drop_table", Found("ban-drop-table")),
    ("ignored", Safe),
    ("refresh_view", Found("refresh-without-concurrently")),
    ("refresh_view_concurrently", Safe),
    ("reindex", Found("require-concurrent-reindex")),
    ("rename_column", Found("renaming-column")),
    ("rename_schema", Found("renaming-object")),
    ("rename_table", Found("renaming-table")),
    ("set_not_null", Found("adding-not-nullable-field")),
    ("timestamp_without_zone", Found("prefer-timestamp-tz")),
    ("truncate", Found("truncated-table")),
    (
        "unnamed_constraint",
        Argued("the server gives it a name, and a later migration can read that"),
    ),
    (
        "update_everything",
        Argued("alone in its migration it locks rows only; beside DDL it is `backfill-beside-ddl`"),
    ),
    ("varchar", Found("prefer-text-field")),
    ("vacuum_inside", Found("transaction-flag-mismatch")),
];

#[tokio::test]
async fn what_other_linters_warn_of_is_found_or_argued() {
    let ours = ours().await;
    for (case, expected) in EXPECTED {
        let found: Vec<_> = ours[*case].iter().map(|(_, rule)| rule.as_str()).collect();
        match expected {
            Found(rule) => assert!(found.contains(rule), "{case}: {found:?}"),
            Argued(reason) => assert!(found.is_empty(), "{case}: {found:?}, though {reason}"),
            Safe => assert!(found.is_empty(), "{case}: {found:?}"),
        }
    }
    let cases: BTreeSet<&str> = EXPECTED.iter().map(|(case, _)| *case).collect();
    let all: BTreeSet<&str> = ours.keys().map(String::as_str).collect();
    assert_eq!(
        cases, all,
        "a case without an expectation, or the other way round"
    );
}
