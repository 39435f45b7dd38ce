//! `dbctl migrate lint`: formats, exit code, what has changed, sizes.

use std::fs;

use harness::TestDatabase;
use serde_json::Value;

use super::Dbctl;
use super::sarif_schema::SarifSchema;

/// dbctl without any server.
pub(super) fn folder(up: &str) -> Dbctl {
    let dbctl = Dbctl::new();
    dbctl.add_migration("1_a", up);
    fs::write(dbctl.path("migrations/1_a/down.sql"), "select 1").unwrap();
    dbctl
}

const DROPS: &str = "alter table a drop column b;\n\
    -- dbctl:allow ban-drop-column reason=\"nobody has read it since 1.4\"\n\
    alter table a drop column c;\n";

#[tokio::test]
async fn errors_end_with_code_6_and_their_place_and_recipe_are_data() {
    let dbctl = folder(DROPS);
    let text = dbctl.run("migrate lint").await.ended_with(6);
    assert!(
        text.stdout.starts_with("migrations/1_a/up.sql:1:"),
        "{text:?}"
    );
    assert!(text.stdout.contains("error ban-drop-column:"), "{text:?}");
    assert_eq!(
        text.stdout.matches("ban-drop-column").count(),
        1,
        "{text:?}"
    );
    let json = dbctl
        .run("migrate lint --format json")
        .await
        .ended_with(6)
        .json();
    assert_eq!(
        (&json["schema"], &json["errors"]),
        (&Value::from(1), &Value::from(1))
    );
    let suppressed: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["rule"] == "ban-drop-column")
        .map(|finding| finding["suppressed"].as_str())
        .collect();
    assert_eq!(suppressed, [None, Some("nobody has read it since 1.4")]);
    let github = dbctl
        .run("migrate lint --format github")
        .await
        .ended_with(6)
        .stdout;
    assert!(
        github.starts_with("::error file=migrations/1_a/up.sql,line=1,"),
        "{github}"
    );
    let gitlab = dbctl
        .run("migrate lint --format gitlab")
        .await
        .ended_with(6)
        .json();
    assert_eq!(gitlab[0]["location"]["path"], "migrations/1_a/up.sql");
    assert_eq!(gitlab[0]["fingerprint"].as_str().unwrap().len(), 32);
    dbctl.run("migrate lint --format xml").await.ended_with(2);

    let fine = folder("create table a(id bigint primary key)");
    let nothing = fine
        .run("migrate lint")
        .await
        .ended_with(0)
        .says("0 errors");
    assert_eq!(nothing.stdout, "");
}

#[tokio::test]
async fn sarif_is_valid_by_its_schema_and_lists_what_is_allowed() {
    let schema = SarifSchema::read();
    let dbctl = folder(&format!(
        "{DROPS}create index on b(c); update t set a = 'ü' where;\n"
    ));
    dbctl.add_migration("2_with blank", "vacuum");
    let sarif = dbctl
        .run("migrate lint --format sarif")
        .await
        .ended_with(6)
        .json();
    assert_eq!(schema.problems(&sarif), [] as [&str; 0]);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap();
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let suppressed: Vec<_> = results
        .iter()
        .filter(|result| result["suppressions"].is_array())
        .collect();
    assert_eq!(suppressed.len(), 1);
    assert_eq!(
        suppressed[0]["suppressions"][0]["justification"],
        "nobody has read it since 1.4"
    );
    let uris: Vec<_> = results
        .iter()
        .map(|result| {
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert!(
        uris.contains(&"migrations/2_with%20blank/up.sql"),
        "{uris:?}"
    );
    let empty = folder("create table a(id bigint primary key)");
    let sarif = empty
        .run("migrate lint --format sarif")
        .await
        .ended_with(0)
        .json();
    assert_eq!(schema.problems(&sarif), [] as [&str; 0]);
}

#[tokio::test]
async fn what_a_comment_of_squawk_ignores_is_listed_as_allowed() {
    let dbctl = folder(
        "-- squawk-ignore ban-drop-column -- nobody reads it\n\
         alter table a drop column b;\n\
         -- squawk-ignore-file ban-drop-table\n\
         drop table c;\n",
    );
    let text = dbctl.run("migrate lint").await.ended_with(0).stdout;
    assert!(!text.contains("ban-drop"), "{text}");
    let sarif = dbctl
        .run("migrate lint --format sarif")
        .await
        .ended_with(0)
        .json();
    assert_eq!(SarifSchema::read().problems(&sarif), [] as [&str; 0]);
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let reasons: Vec<_> = ["ban-drop-column", "ban-drop-table"]
        .into_iter()
        .map(|rule| {
            let mut of_rule = results.iter().filter(|result| result["ruleId"] == rule);
            let result = of_rule.next().unwrap();
            assert_eq!(result["suppressions"][0]["kind"], "inSource");
            result["suppressions"][0]["justification"].as_str().unwrap()
        })
        .collect();
    assert_eq!(reasons, ["nobody reads it", "squawk-ignore-file"]);
}

#[tokio::test]
async fn a_rule_is_explained_and_a_misspelt_one_names_the_nearest() {
    let dbctl = Dbctl::new();
    let text = dbctl
        .run("migrate lint --explain require-concurrent-index-creation")
        .await
        .ended_with(0)
        .stdout;
    assert!(text.contains("CREATE INDEX CONCURRENTLY"), "{text}");
    dbctl
        .run("migrate lint --explain ban-drop-colum")
        .await
        .ended_with(2)
        .says("did you mean `ban-drop-column`?");
    let allowed = folder("-- dbctl:allow ban-drop-colum reason=\"x\"\nselect 1");
    let text = allowed.run("migrate lint").await.ended_with(6).stdout;
    assert!(text.contains("did you mean `ban-drop-column`?"), "{text}");
    let bare = folder("-- dbctl:allow ban-drop-column\nalter table a drop column b");
    let text = bare.run("migrate lint").await.ended_with(6).stdout;
    assert!(text.contains("allow-without-reason"), "{text}");
}

#[tokio::test]
async fn settings_of_squawk_are_honoured() {
    let dbctl = folder("alter table a drop column b");
    fs::write(
        dbctl.path(".squawk.toml"),
        "excluded_rules = [\"ban-drop-column\"]\n",
    )
    .unwrap();
    dbctl.run("migrate lint").await.ended_with(0);
    fs::write(
        dbctl.path(".squawk.toml"),
        "excluded_paths = [\"migrations/1_*/up.sql\"]\n",
    )
    .unwrap();
    dbctl.run("migrate lint").await.ended_with(0);
    fs::write(
        dbctl.path(".squawk.toml"),
        "included_rules = [\"require-table-schema\"]\n",
    )
    .unwrap();
    let text = dbctl.run("migrate lint").await.ended_with(6).stdout;
    assert!(text.contains("require-table-schema"), "{text}");
    fs::write(
        dbctl.path(".squawk.toml"),
        "excluded_rules = [\"ban-drop-colum\"]\n",
    )
    .unwrap();
    dbctl
        .run("migrate lint")
        .await
        .ended_with(2)
        .says("did you mean");
}

#[tokio::test]
async fn where_a_server_is_given_a_small_table_is_no_error() {
    let database = TestDatabase::empty().await.unwrap();
    let create = "create table small(id int); create table large(id int); \
                  insert into large select generate_series(1, 20000)";
    let dbctl = Dbctl::with_migration(&database, "1_a", create);
    dbctl.run("migrate run").await.ended_with(0);
    database
        .sql("INSERT INTO small VALUES (1); ANALYZE")
        .await
        .unwrap();
    dbctl.add_migration(
        "2_b",
        "create index on small(id);\ncreate index on large(id);\n",
    );
    let severities = async |command: &str| -> Vec<String> {
        let json = dbctl.run(command).await.json();
        let findings = json["findings"].as_array().unwrap().clone();
        findings
            .iter()
            .filter(|finding| finding["rule"] == "require-concurrent-index-creation")
            .map(|finding| finding["severity"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        severities("migrate lint --format json").await,
        ["error", "error"]
    );
    assert_eq!(
        severities("migrate lint --format json --server").await,
        ["warning", "error"]
    );
    let text = dbctl
        .run("migrate lint --server")
        .await
        .ended_with(6)
        .stdout;
    assert!(text.contains("public.large has about 20000 rows"), "{text}");
}

#[tokio::test]
async fn a_run_that_lints_first_stops_at_an_error_and_looks_only_at_what_is_pending() {
    let database = TestDatabase::empty().await.unwrap();
    let applied = "create table large(id int); insert into large select generate_series(1, 20000); \
                   drop table if exists nothing";
    let dbctl = Dbctl::with_migration(&database, "1_a", applied);
    dbctl.run("migrate run").await.ended_with(0);
    database.sql("ANALYZE").await.unwrap();
    dbctl.add_migration("2_b", "create table small(id bigint primary key);\n");
    dbctl.add_migration("3_c", "create index on large(id);\n");
    for command in [
        "migrate run --lint --json",
        "migrate run --lint --dry-run",
        "migrate plan --lint",
    ] {
        let stopped = dbctl
            .run(command)
            .await
            .ended_with(6)
            .says("3_c/up.sql:1:1: error require-concurrent-index-creation:")
            .says("public.large has about 20000 rows");
        assert!(!stopped.stderr.contains("1_a"), "{stopped:?}");
        assert_eq!(stopped.stdout, "");
    }
    dbctl.run("migrate status --check").await.ended_with(3);
    // What the run would not apply is not looked at.
    dbctl
        .run("migrate run --lint --to 2")
        .await
        .ended_with(0)
        .says("1 migration applied");
    let allowed = "-- dbctl:allow require-concurrent-index-creation reason=\"at night\"\n\
                   create index on large(id);\n";
    dbctl.add_migration("3_c", allowed);
    dbctl.run("migrate run --lint").await.ended_with(0);
}

#[tokio::test]
async fn a_dropped_column_that_still_stands_in_schema_rs_is_found() {
    let dbctl = folder("alter table a drop column b, drop column c");
    fs::create_dir(dbctl.path("src")).unwrap();
    let schema = "diesel::table! { a (id) { id -> Int8, b -> Text, } }";
    fs::write(dbctl.path("src/schema.rs"), schema).unwrap();
    let text = dbctl.run("migrate lint").await.ended_with(6).stdout;
    assert!(
        text.contains("a.b is dropped, but is still in src/schema.rs"),
        "{text}"
    );
    assert!(!text.contains("a.c is dropped"), "{text}");
}
