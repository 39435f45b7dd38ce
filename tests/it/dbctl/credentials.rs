//! `dbctl credentials check`.

use std::fs;

use harness::TestDatabase;
use serde_json::Value;

use super::Dbctl;

fn on(database: &TestDatabase, text: &str) -> (Dbctl, std::path::PathBuf) {
    let url = harness::url(
        database.server().port(),
        database.name(),
        database.role().name(),
        "nobody",
    );
    let dbctl = Dbctl::new()
        .with("DATABASE_URL", url)
        .with("APP_DB__CREDENTIALS__SOURCE", "file")
        .with("APP_DB__CREDENTIALS__PATH", "secret.json");
    let path = dbctl.path("secret.json");
    fs::write(&path, text).unwrap();
    (dbctl, path)
}

/// What the source delivers is logged in with, once for each pool, and nothing more happens.
#[tokio::test]
async fn the_check_logs_in_and_publishes_nothing() {
    let database = TestDatabase::empty().await.unwrap();
    let (name, password) = (database.role().name(), database.password());
    let secret = format!(
        r#"{{"version":1,"username":"{name}","password":"{password}","expires_at":"2100-01-01T00:00:00Z",
            "fallback":{{"username":"{name}","password":"wrong"}}}}"#
    );
    let (dbctl, path) = on(&database, &secret);
    let outcome = dbctl.run("credentials check --json").await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["source"], "file");
    assert_eq!(
        (&report["user"], &report["accepted"]),
        (&name.into(), &true.into())
    );
    assert!(report["expires_in_s"].as_u64().unwrap() > 1_000_000);
    let logins = report["logins"].as_array().unwrap();
    let errors: Vec<_> = logins
        .iter()
        .map(|login| (&login["is_fallback"], login["error"].is_null()))
        .collect();
    assert_eq!(
        errors,
        [(&Value::Bool(false), true), (&Value::Bool(true), false)]
    );

    let outcome = dbctl.run("credentials check").await;
    assert!(
        outcome.stdout.contains("source file") && outcome.stdout.contains("write"),
        "{outcome:?}"
    );
    assert!(!outcome.stdout.contains(&password) && !outcome.stderr.contains(&password));

    // A refused login and a source that delivers nothing have codes of their own.
    fs::write(&path, "wrong").unwrap();
    let outcome = dbctl.run("credentials check").await;
    assert_eq!(outcome.code, Some(8), "{outcome:?}");
    assert!(outcome.stdout.contains("28P01"), "{outcome:?}");
    fs::write(&path, "").unwrap();
    let outcome = dbctl.run("credentials check").await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.stderr.contains("secret.json` is empty"),
        "{outcome:?}"
    );
    assert!(database.backends("app-db").await.unwrap().is_empty());
}

/// What is missing or unknown is named with what was expected.
#[tokio::test]
async fn a_wrong_key_is_named_with_what_was_expected() {
    for (variable, value, expected) in [
        (
            "APP_DB__CREDENTIALS__SOURCE",
            "vault",
            r#"one of "static", "file", "directory", "command", "provider""#,
        ),
        (
            "APP_DB__CREDENTIALS__SOURCE",
            "file",
            "APP_DB__CREDENTIALS__PATH",
        ),
        (
            "APP_DB__CREDENTIALS__SOURCE",
            "directory",
            "SERVICE_BINDING_ROOT",
        ),
        (
            "APP_DB__CREDENTIALS__SOURCE",
            "command",
            "APP_DB__CREDENTIALS__COMMAND",
        ),
        (
            "APP_DB__CREDENTIALS__COMMAND",
            "/usr/bin/token app",
            "a list of texts such as",
        ),
        ("APP_DB__CREDENTIALS__POLL", "1", r#"write "1s""#),
        (
            "APP_DB__CREDENTIALS__REFRESH",
            "daily",
            r#"one of "timer", "lazy""#,
        ),
        ("APP_DB__CREDENTIALS__ATTEMPTS", "0", "from 1 to"),
        (
            "APP_DB__CREDENTIALS__PTH",
            "x",
            "did you mean `database.credentials.path`",
        ),
    ] {
        let dbctl = Dbctl::new()
            .with("DATABASE_URL", "postgres://app:secret@localhost/app")
            .with(variable, value);
        let outcome = dbctl.run("credentials check").await;
        assert_eq!(outcome.code, Some(2), "{variable}: {outcome:?}");
        assert!(outcome.stderr.contains(expected), "{variable}: {outcome:?}");
        assert!(
            outcome.stderr.contains(variable) || variable.ends_with("SOURCE"),
            "{outcome:?}"
        );
    }
}

/// Every command logs in with what the source delivers, not only the pools.
#[tokio::test]
async fn every_command_logs_in_with_what_the_source_delivers() {
    let database = TestDatabase::empty().await.unwrap();
    let (dbctl, path) = on(&database, &database.password());
    let (port, name) = (database.server().port(), database.role().name());
    let dbctl = dbctl.with(
        "DATABASE_URL_DIRECT",
        harness::url(port, database.name(), name, "nobody"),
    );
    dbctl.add_migration("1_a", "create table a()");
    let commands = [
        "doctor",
        "connections",
        "migrate status",
        "migrate run",
        "advise",
        "health",
    ];
    let refused = "refuses these credentials";
    for command in commands {
        let outcome = dbctl.run(command).await;
        let said = format!("{} {}", outcome.stdout, outcome.stderr);
        assert!(!said.contains(refused), "{command}: {said}");
        assert!(
            !said.contains("password authentication failed"),
            "{command}: {said}"
        );
        assert!(
            !matches!(outcome.code, Some(2 | 8)),
            "{command}: {outcome:?}"
        );
    }
    // Each of them asks anew.
    fs::write(&path, "wrong").unwrap();
    for command in commands {
        let outcome = dbctl.run(command).await;
        let said = format!("{} {}", outcome.stdout, outcome.stderr);
        assert!(said.contains(refused), "{command}: {said}");
    }
}
