//! User and password come from a source, and are renewed while work goes on.

mod beside;
mod canary;
mod clouds;
mod commands;
mod denials;
mod drain;
mod endpoints;
mod fallbacks;
mod files;
mod lazily;
mod leftovers;
mod load;
mod migrations;
mod pooled;
mod proofs;
mod providers;
mod recipes;
mod socket;
mod tokens;
mod trust;
mod versions;
mod windows;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use app_db::{Config, Database, Error};
use diesel::QueryResult;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Cluster, ClusterOptions, TestDatabase, TestRole, wait_until};
use tempfile::TempDir;

use crate::SOON;
use crate::transaction::config;

/// The user that a connection has logged in as.
async fn user(conn: &mut AsyncPgConnection) -> QueryResult<String> {
    diesel::dsl::sql::<Text>("select session_user::text")
        .get_result(conn)
        .await
}

/// A folder with secrets in it.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in the place of another, in one step.
    fn put(&self, name: &str, text: &str) -> PathBuf {
        let (path, aside) = (self.path(name), self.path(".aside"));
        fs::write(&aside, text).unwrap();
        fs::rename(&aside, &path).unwrap();
        path
    }

    fn put_json(&self, name: &str, user: &str, password: &str) -> PathBuf {
        self.put(name, &json(user, password))
    }

    /// Puts a version of a Secret in place as the kubelet does: a folder of its own, and one link that is moved.
    fn mount(&self, version: &str, files: &[(&str, &str)]) {
        let folder = self.path(version);
        fs::create_dir(&folder).unwrap();
        for (name, value) in files {
            fs::write(folder.join(name), value).unwrap();
            let link = self.path(name);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(name), link).unwrap();
            }
        }
        let data = self.path("..data");
        let before = fs::read_link(&data).ok();
        symlink(version, self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), data).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(self.path(before.to_str().unwrap())).unwrap();
        }
    }
}

fn json(user: &str, password: &str) -> String {
    serde_json::json!({ "version": 1, "username": user, "password": password }).to_string()
}

/// The configuration of a database whose URL has a password that no server knows.
fn sourced(db: &TestDatabase, source: &str, path: &Path, more: &[(&str, &str)]) -> Config {
    let url = harness::url(db.server().port(), db.name(), db.role().name(), "nobody");
    sourced_at(&url, source, path, more)
}

fn sourced_at(url: &str, source: &str, path: &Path, more: &[(&str, &str)]) -> Config {
    let path = path.to_str().unwrap();
    let mut vars = vec![
        ("APP_DB__CREDENTIALS__SOURCE", source),
        ("APP_DB__CREDENTIALS__PATH", path),
        ("APP_DB__CREDENTIALS__POLL", "100ms"),
    ];
    vars.extend(more);
    config(url, &vars)
}

async fn open(config: &Config) -> Database {
    Database::connect(config).await.unwrap()
}

fn generation(database: &Database) -> u64 {
    database.status()[0].generation
}

async fn reaches_generation(database: &Database, wanted: u64) {
    wait_until("the new secret is in use", SOON, async || {
        generation(database) >= wanted
    })
    .await;
}

/// A server of its own, whose log is the test's alone.
async fn logging() -> (Cluster, TestDatabase) {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    (cluster, db)
}

/// How many logins of this role the server has refused for its password.
fn refusals(cluster: &Cluster, role: &TestRole) -> usize {
    let refused = format!(
        "password authentication failed for user \"{}\"",
        role.name()
    );
    cluster
        .log_text()
        .lines()
        .filter(|line| line.contains("FATAL") && line.ends_with(&refused))
        .count()
}

/// Uses a new connection each time, so that each time somebody logs in.
async fn log_in(database: &Database) -> Result<String, Error> {
    let mut conn = database.get().await?;
    let user = user(&mut conn).await.map_err(Error::from)?;
    conn.discard();
    Ok(user)
}
