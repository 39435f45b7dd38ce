//! `app-db-test`: databases for the tests of a project, on its own server and on a private one. Each case runs this
//! program again, as the tests of that project would run, in an environment of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use app_db::{Database, Error};
use app_db_test::{TestDatabase, TestDatabaseError};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use harness::{Cluster, wait_until};
use tempfile::TempDir;

use crate::SOON;

const CHILD: &str = "DB_TESTS_PROJECT";
const NOTES: &str =
    "CREATE TABLE notes (id BIGINT GENERATED ALWAYS AS IDENTITY, text TEXT NOT NULL);";

/// A project with a crate below its root, and a temporary folder in which servers of root can do what they can in
/// `/tmp`.
struct Project {
    root: TempDir,
    temporary: TempDir,
}

impl Project {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        // The permissions are set after the creation, because the umask would reduce them.
        fs::set_permissions(temporary.path(), Permissions::from_mode(0o1777)).unwrap();
        let project = Self {
            root: tempfile::tempdir().unwrap(),
            temporary,
        };
        project.migrate("1_notes", NOTES);
        project
    }

    fn migrate(&self, name: &str, sql: &str) {
        let folder = self.root.path().join("migrations").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("up.sql"), sql).unwrap();
    }

    /// The test that is called, again, as one of this project.
    fn test(&self, name: &str, url: Option<&str>) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("test_database::{name}"), "--nocapture"]);
        command.env(CHILD, "1").env(
            "CARGO_MANIFEST_DIR",
            self.root.path().join("crates/service"),
        );
        command.env("TMPDIR", self.temporary.path());
        for variable in [
            "DATABASE_URL",
            "DATABASE_URL_DIRECT",
            "APP_ENV",
            "APP_DB_TEST_POSTGRES_BIN",
        ] {
            command.env_remove(variable);
        }
        if let Some(url) = url {
            command.env("DATABASE_URL", url);
        }
        command
    }

    fn has_server(&self) -> bool {
        let left = fs::read_dir(self.temporary.path()).unwrap().flatten();
        let is_home = |name: String| name.starts_with("app-db-test-") && !name.ends_with(".lock");
        left.into_iter()
            .any(|entry| is_home(entry.file_name().into_string().unwrap()))
    }
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

fn assert_passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

async fn note(db: &Database, text: &str) -> Result<usize, Error> {
    let noting = async |conn: &mut AsyncPgConnection| -> QueryResult<usize> {
        let insert = diesel::sql_query("INSERT INTO notes (text) VALUES ($1)");
        insert.bind::<Text, _>(text).execute(conn).await
    };
    Ok(db.write(noting).await?)
}

async fn number(db: &Database, sql: &str) -> i64 {
    let asking = async |conn: &mut AsyncPgConnection| -> QueryResult<i64> {
        diesel::dsl::sql::<BigInt>(sql).get_result(conn).await
    };
    db.read(asking).await.unwrap()
}

/// What two tests of a project do side by side.
async fn two_databases() {
    let (one, other) = tokio::join!(TestDatabase::new(), TestDatabase::new());
    let (one, other) = (one.unwrap(), other.unwrap());
    for text in ["a", "b"] {
        note(&one, text).await.unwrap();
    }
    note(&other.database(), "c").await.unwrap();
    assert_eq!(number(&one, "SELECT count(*) FROM notes").await, 2);
    assert_eq!(number(&other, "SELECT count(*) FROM notes").await, 1);
    let shown = format!("{one:?}");
    assert!(
        shown.contains(one.name()) && shown.contains("***"),
        "{shown}"
    );
    if std::env::var_os("KILLED").is_some() {
        std::process::abort();
    }
    let left = format!(
        "SELECT count(*) FROM pg_database WHERE datname = '{}'",
        one.name()
    );
    assert_eq!(number(&other, &left).await, 1);
    drop(one);
    assert_eq!(number(&other, &left).await, 0);
    if std::env::var_os("LAST").is_some() {
        let copies =
            "SELECT count(*) FROM pg_database WHERE datname ~ '^app_db_test_.*_[0-9a-f]{12}$'";
        assert_eq!(
            number(&other, copies).await,
            1,
            "what the killed test left is gone"
        );
        let templates = "SELECT count(*) FROM pg_database WHERE datname ~ 'template_[0-9a-f]{16}$'";
        assert_eq!(
            number(&other, templates).await,
            1,
            "and what older migrations left"
        );
        assert_eq!(number(&other, "SELECT count(more) FROM notes").await, 0);
    }
}

/// Several processes share it, one of them is killed, the migrations change, and in the end nothing is left.
#[tokio::test]
async fn a_private_server_serves_all_processes_and_ends_after_the_last() {
    if is_child() {
        return two_databases().await;
    }
    let project = Project::new();
    let test = || {
        let mut test = project.test(
            "a_private_server_serves_all_processes_and_ends_after_the_last",
            None,
        );
        let folder = harness::Binaries::find().unwrap().folder().to_owned();
        test.env("APP_DB_TEST_POSTGRES_BIN", folder);
        test
    };
    let begin = || {
        test()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let started: Vec<_> = (0..3).map(|_| begin()).collect();
    for child in started {
        assert_passed(&child.wait_with_output().unwrap());
    }
    assert!(!test().env("KILLED", "1").output().unwrap().status.success());
    project.migrate("2_more", "ALTER TABLE notes ADD COLUMN more TEXT;");
    assert_passed(&test().env("LAST", "1").output().unwrap());
    assert!(project.has_server());
    wait_until("the server has ended", 4 * SOON, async || {
        !project.has_server()
    })
    .await;
}

/// The database that the URL names need not be there.
#[tokio::test]
async fn the_server_of_the_url_is_used_where_there_is_one() {
    if is_child() {
        return two_databases().await;
    }
    let (project, cluster) = (Project::new(), Cluster::shared().await.unwrap());
    for database in ["postgres", "no_such_database"] {
        let name = "the_server_of_the_url_is_used_where_there_is_one";
        assert_passed(
            &project
                .test(name, Some(&cluster.url(database)))
                .output()
                .unwrap(),
        );
    }
    assert!(!project.has_server());
}

#[tokio::test]
async fn what_keeps_a_test_from_its_database_is_said() {
    if is_child() {
        return what_is_missing(Path::new(&std::env::var_os("ROOT").unwrap())).await;
    }
    let (project, cluster) = (Project::new(), Cluster::shared().await.unwrap());
    let name = "what_keeps_a_test_from_its_database_is_said";
    let url = cluster.url("postgres");
    assert_passed(
        &project
            .test(name, Some(&url))
            .env("ROOT", project.root.path())
            .output()
            .unwrap(),
    );
}

async fn what_is_missing(root: &Path) {
    let error = TestDatabase::migrated(root.join("nowhere"))
        .await
        .unwrap_err();
    assert!(matches!(error, TestDatabaseError::Io { .. }), "{error:?}");

    let broken = root.join("broken");
    fs::create_dir_all(broken.join("1_notes")).unwrap();
    fs::write(broken.join("1_notes/up.sql"), "CREATE TABL notes ();").unwrap();
    for _again in 0..2 {
        let error = TestDatabase::migrated(&broken).await.unwrap_err();
        assert!(matches!(error, TestDatabaseError::Migrate(_)), "{error:?}");
    }

    fs::create_dir(root.join("config")).unwrap();
    fs::write(
        root.join("config/default.toml"),
        "[database.pools.write]\nmaxx = 1\n",
    )
    .unwrap();
    let error = TestDatabase::new().await.unwrap_err();
    assert!(matches!(error, TestDatabaseError::Config(_)), "{error:?}");
    fs::write(
        root.join("config/default.toml"),
        "[database.pools.write]\nmax = 3\n",
    )
    .unwrap();
    let db = TestDatabase::new().await.unwrap();
    assert_eq!(db.status()[0].max, 3, "the project's own settings");
}
