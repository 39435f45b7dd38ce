//! The command line as a person or a script meets it: output, exit codes, no secrets.

mod credentials;
mod databases;
mod lint;
mod lint_since;
mod migrate;
mod migration_files;
mod operating;
mod planned;
mod sarif_schema;
mod schema_dump;

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use harness::TestDatabase;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::programs;

/// dbctl in an empty directory, with only the environment that a test sets.
pub(crate) struct Dbctl {
    directory: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Dbctl {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// For a database, with the repository's migrations.
    pub(crate) fn on(database: &TestDatabase) -> Self {
        let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        Self::new()
            .with("DATABASE_URL", database.url())
            .with("DATABASE_URL_DIRECT", database.url())
            .with("APP_DB__MIGRATIONS__DIRECTORY", migrations)
    }

    /// For a database, with one migration of its own.
    pub(crate) fn with_migration(database: &TestDatabase, name: &str, up: &str) -> Self {
        let dbctl = Self::on(database).with("APP_DB__MIGRATIONS__DIRECTORY", "migrations");
        dbctl.add_migration(name, up);
        dbctl
    }

    pub(crate) fn add_migration(&self, name: &str, up: &str) {
        let folder = self.path("migrations").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("up.sql"), up).unwrap();
    }

    pub(crate) fn with(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.variables.retain(|(name, _)| *name != variable);
        self.variables.push((variable, value.into()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(programs::dbctl());
        command
            .args(arguments.split_whitespace())
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, arguments: &str) -> Outcome {
        let mut command = self.command(arguments);
        let started = Instant::now();
        let output = command.output().await.unwrap();
        Outcome::new(&output, started.elapsed())
    }
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    elapsed: Duration,
}

impl Outcome {
    fn new(output: &Output, elapsed: Duration) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
            elapsed,
        }
    }

    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard output as one JSON value per line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    #[track_caller]
    pub(crate) fn keeps(self, secret: &str) -> Self {
        assert!(
            !self.stdout.contains(secret) && !self.stderr.contains(secret),
            "{self:?}"
        );
        self
    }

    /// `version: state` of `migrate status --json`.
    #[track_caller]
    fn states(&self) -> Vec<String> {
        let status: Value = serde_json::from_str(&self.stdout).unwrap();
        let text = |migration: &Value, key| migration[key].as_str().unwrap().to_owned();
        let migrations = status.as_array().unwrap();
        migrations.iter().map(|m| text(m, "state")).collect()
    }
}

/// req 2.15, req 4.47
#[tokio::test]
async fn config_show_prints_the_production_table_with_origins_and_no_secret() {
    let dbctl = Dbctl::new()
        .with("APP_ENV", "prod")
        .with(
            "DATABASE_URL",
            "postgres://app:canary5ecret@127.0.0.1:5432/app",
        )
        .with("APP_DB__POOLS__WRITE__MAX", "33");
    let table = dbctl
        .run("config show")
        .await
        .ended_with(0)
        .keeps("canary5ecret")
        .stdout;
    let line = |key: &str| {
        let line = table
            .lines()
            .find(|line| line.split_whitespace().next() == Some(key));
        line.unwrap_or_else(|| panic!("no {key} in\n{table}"))
    };
    assert!(line("database.pools.write.max").contains("33"), "{table}");
    assert!(
        line("database.pools.write.max").contains("APP_DB__POOLS__WRITE__MAX"),
        "{table}"
    );
    assert!(table.contains("built-in"), "{table}");

    let json = dbctl
        .run("config show --json")
        .await
        .ended_with(0)
        .keeps("canary5ecret")
        .stdout;
    let entries: Vec<Value> = serde_json::from_str(&json).unwrap();
    assert!(
        entries
            .iter()
            .all(|entry| entry["key"].is_string() && entry["origin"].is_string())
    );
    assert_eq!(
        entries.len() + 1,
        table.lines().count(),
        "one line per key, and the header"
    );
}

#[tokio::test]
async fn config_check_lists_every_problem_and_ends_with_code_2() {
    let dbctl = Dbctl::new()
        .with(
            "DATABASE_URL",
            "postgres://app:canary5ecret@127.0.0.1:5432/app",
        )
        .with(
            "DATABASE_URL_DIRECT",
            "postgres://app:canary5ecret@127.0.0.1:5432/app",
        );
    dbctl.run("config check").await.ended_with(0);

    let wrong = dbctl
        .with("APP_DB__POOLS__WRITE__MAX", "many")
        .with("APP_DB__RETRY__ATTEMPS", "3");
    for command in ["config check", "config check --json"] {
        let outcome = wrong.run(command).await.ended_with(2).keeps("canary5ecret");
        for part in ["APP_DB__POOLS__WRITE__MAX", "APP_DB__RETRY__ATTEMPS"] {
            assert!(outcome.stdout.contains(part), "{outcome:?}");
        }
    }
    wrong
        .run("migrate run")
        .await
        .ended_with(2)
        .says("APP_DB__RETRY__ATTEMPS");
}

/// req 2.26, req 0.37
#[tokio::test]
async fn health_tells_a_database_that_answers_from_one_that_does_not() {
    let database = TestDatabase::create().await.unwrap();
    let dbctl = Dbctl::on(&database);
    dbctl.run("health").await.ended_with(0);
    let json = dbctl
        .run("health --json")
        .await
        .ended_with(0)
        .keeps(&database.password())
        .stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["ready"], true);

    let dbctl = dbctl.with(
        "DATABASE_URL",
        database.url().replace(&database.password(), "canary5ecret"),
    );
    dbctl
        .run("health")
        .await
        .ended_with(8)
        .keeps("canary5ecret");
}

#[tokio::test]
async fn help_documents_the_exit_codes_and_wrong_arguments_end_with_code_2() {
    let dbctl = Dbctl::new();
    for command in ["--help", "migrate --help"] {
        assert!(
            dbctl
                .run(command)
                .await
                .ended_with(0)
                .stdout
                .contains("Exit codes:")
        );
    }
    dbctl.run("migrate revert --step 0").await.ended_with(2);
    dbctl.run("no-such-command").await.ended_with(2);
}
