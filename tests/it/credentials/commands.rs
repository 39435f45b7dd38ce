//! A program that prints the secret, and programs that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use app_db::{Config, CredentialsProblem, Database, Error};
use harness::{TestDatabase, wait_until};

use super::{Secrets, generation, json, log_in, open, user};
use crate::SOON;
use crate::at_rest::watched;
use crate::captured::Captured;
use crate::transaction::config;

/// A script in a folder, whose text may be replaced.
fn script(secrets: &Secrets, text: &str) -> String {
    let path = secrets.path("token");
    let aside = secrets.path("token.new");
    fs::write(&aside, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&aside, &path).unwrap();
    path.to_str().unwrap().to_owned()
}

fn commanded(db: &TestDatabase, argv: &[&str], more: &[(&str, &str)]) -> Config {
    let url = harness::url(db.server().port(), db.name(), db.role().name(), "nobody");
    let argv = serde_json::to_string(argv).unwrap();
    let mut vars = vec![
        ("APP_DB__CREDENTIALS__SOURCE", "command"),
        ("APP_DB__CREDENTIALS__COMMAND", &*argv),
        ("APP_DB__CREDENTIALS__TIMEOUT", "2s"),
        ("PATH", "/usr/bin:/bin"),
        ("VAULT_ADDR", "https://vault.example"),
        ("APP_SECRET", "canaryofours"),
    ];
    vars.extend(more);
    config(&url, &vars)
}

/// Processes whose command line has this in it.
fn processes(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let cmdline = |entry: fs::DirEntry| {
        let state = fs::read_to_string(entry.path().join("stat")).ok()?;
        // What has ended and waits for its parent is nothing that runs.
        let is_ended = state.rsplit(')').next()?.trim().starts_with('Z');
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (!is_ended && line.contains(text)).then_some(line)
    };
    entries.filter_map(cmdline).collect()
}

/// The program gets its arguments as they are, no shell, and of the environment what is allowed.
#[tokio::test]
async fn a_program_prints_the_secret() {
    let db = TestDatabase::empty().await.unwrap();
    let secrets = Secrets::new();
    let asked = secrets.path("asked");
    let text = format!(
        "env >{}; printf '%s|' \"$@\" >>{}; test ! -t 0 || exit 9; read line && exit 8; echo '{}'; echo noise-canary >&2",
        asked.display(),
        asked.display(),
        json(db.role().name(), &db.password())
    );
    let program = script(&secrets, &text);
    let config = commanded(&db, &[&program, "a b", "$(id)", "*"], &[]);
    let (captured, guard) = Captured::begin();
    let database = watched(&db, open(&config).await).with_sessions(21);
    assert_eq!(database.read(user).await.unwrap(), db.role().name());
    let told = fs::read_to_string(&asked).unwrap();
    assert!(told.ends_with("a b|$(id)|*|"), "{told}");
    assert!(told.contains("VAULT_ADDR=https://vault.example"), "{told}");
    assert!(
        !told.contains("DATABASE_URL") && !told.contains("APP_"),
        "{told}"
    );
    assert!(!captured.mentions("noise-canary"));
    drop(guard);
    database.rests().await;
}

/// case R42: a program that hangs, floods, prints nothing or nonsense, fails or leaves something behind is ended in
/// time, and the credentials in place serve.
#[tokio::test]
async fn whatever_a_program_does_the_old_credentials_serve() {
    let db = TestDatabase::empty().await.unwrap();
    let secrets = Secrets::new();
    let good = format!("echo '{}'", json(db.role().name(), &db.password()));
    let program = script(&secrets, &good);
    let database = watched(&db, open(&commanded(&db, &[&program], &[])).await).with_sessions(21);
    let mark = secrets.put("mark", "").display().to_string();
    for (text, problem) in [
        (
            format!("tail -f {mark} & exec tail -f {mark}"),
            CredentialsProblem::TimedOut,
        ),
        ("exec yes canary".to_owned(), CredentialsProblem::TooLong),
        (
            "head -c 300000 /dev/zero".to_owned(),
            CredentialsProblem::TooLong,
        ),
        (
            "printf '{\"password\":\"canary'".to_owned(),
            CredentialsProblem::Malformed,
        ),
        (
            "printf '\\377\\376canary'".to_owned(),
            CredentialsProblem::Malformed,
        ),
        (":".to_owned(), CredentialsProblem::Empty),
        (format!("{good}; exit 1"), CredentialsProblem::Failed),
        (
            "echo canary >&2; kill -9 $$".to_owned(),
            CredentialsProblem::Failed,
        ),
    ] {
        let (captured, guard) = Captured::begin();
        script(&secrets, &text);
        let began = Instant::now();
        let error = database.refresh().await.unwrap_err();
        assert!(began.elapsed() < SOON, "{text}: {:?}", began.elapsed());
        let Error::Credentials(error) = &error else {
            panic!("{text}: {error}");
        };
        assert_eq!(error.problem(), problem, "{text}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains(&program) && !shown.contains("canary"),
            "{shown}"
        );
        assert!(!captured.mentions("canary"));
        assert_eq!(log_in(&database).await.unwrap(), db.role().name());
        assert_eq!(generation(&database), 1);
        drop(guard);
    }
    // What leaves something behind that holds its output open has printed its secret all the same.
    script(&secrets, &format!("tail -f {mark} & {good}"));
    database.refresh().await.unwrap();
    wait_until("nothing is left of any of them", SOON, async || {
        processes(&mark).is_empty()
    })
    .await;
    database.rests().await;
}

/// A program that is not there is named, at the start and later.
#[tokio::test]
async fn a_program_that_is_missing_is_named() {
    let db = TestDatabase::empty().await.unwrap();
    let error = Database::connect(&commanded(&db, &["/no/such/program", "canary"], &[]))
        .await
        .unwrap_err();
    let shown = error.to_string();
    assert!(
        shown.contains("/no/such/program") && !shown.contains("canary"),
        "{shown}"
    );
    assert!(Path::new("/no/such/program").symlink_metadata().is_err());
}
