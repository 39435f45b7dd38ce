//! A secret of 4 kB with every character that a URL has a meaning for, hunted wherever something is said.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use app_db::Credentials;
use db_config::PooledUrl;
use db_observe::{Exporter, Format, Operations};
use harness::TestDatabase;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::{Secrets, open, reaches_generation, sourced, user};
use crate::alone::has_its_own_process;
use crate::at_rest::watched;
use crate::captured::Captured;
use crate::dbctl::Dbctl;
use crate::operate::page;
use crate::programs;

/// What has to be nowhere: any run of this many characters of the secret.
const RUN: usize = 12;

fn canary(number: u32) -> String {
    let marks = r#"canary:/?#[]@!$&'()*+,;=%20%"<>\^`{|}~ -._"#;
    let mut canary = String::new();
    while canary.len() < 4_096 {
        canary.push_str(&format!("{marks}{number}x{}", canary.len()));
    }
    canary
}

/// Whether a text has a part of the secret, as it is or as JSON, Debug or a URL write it.
pub(super) fn betrays(text: &str, secret: &str) -> bool {
    text.contains("canary") || has_a_run(text, secret)
}

fn has_a_run(text: &str, secret: &str) -> bool {
    let plain: Vec<char> = secret.chars().collect();
    let runs = plain.chunks(RUN).filter(|run| run.len() == RUN);
    let said = |run: String| {
        let escaped = format!("{run:?}");
        let json = serde_json::to_string(&run).unwrap();
        let url: String = run
            .bytes()
            .map(|byte| match byte.is_ascii_alphanumeric() {
                true => char::from(byte).to_string(),
                false => format!("%{byte:02X}"),
            })
            .collect();
        [
            run,
            escaped.trim_matches('"').to_owned(),
            json.trim_matches('"').to_owned(),
            url,
        ]
        .iter()
        .any(|form| text.contains(form.as_str()))
    };
    let mut runs = runs.map(String::from_iter);
    runs.any(said)
}

async fn set_password(db: &TestDatabase, password: &str) {
    let quoted = password.replace('\'', "''");
    let alter = format!("ALTER ROLE {} PASSWORD '{quoted}'", db.role().name());
    db.server().sql(&alter).await.unwrap();
}

/// A user whose password is the first canary, which is in a file, and two more.
pub(super) struct Hunted {
    pub(super) secrets: Secrets,
    pub(super) path: PathBuf,
    pub(super) first: String,
    pub(super) second: String,
    pub(super) wrong: String,
}

impl Hunted {
    pub(super) async fn begin(db: &TestDatabase) -> Self {
        let secrets = Secrets::new();
        let [first, second, wrong] = [1, 2, 3].map(canary);
        change(db, &secrets, &first).await;
        Self {
            path: secrets.path("secret"),
            secrets,
            first,
            second,
            wrong,
        }
    }
}

/// The password changes on the server and in the file.
pub(super) async fn change(db: &TestDatabase, secrets: &Secrets, password: &str) {
    set_password(db, password).await;
    secrets.put_json("secret", db.role().name(), password);
}

#[test]
fn the_hunt_finds_what_it_hunts() {
    let secret = canary(1);
    assert!(secret.len() > 4_000);
    let run = &secret[RUN..2 * RUN];
    for said in [
        run.to_owned(),
        format!("{run:?}"),
        serde_json::to_string(run).unwrap(),
    ] {
        assert!(betrays(&said, &secret), "{said}");
    }
    assert!(!betrays("the password was refused", &secret));
}

/// req 4.47, case R49: in this process: logs of every level and crate, errors, Debug, the status.
#[tokio::test]
async fn the_secret_is_in_nothing_that_this_process_says() {
    let db = TestDatabase::empty().await.unwrap();
    let Hunted {
        secrets,
        path,
        first,
        second,
        wrong,
    } = Hunted::begin(&db).await;
    let (captured, guard) = Captured::begin();
    let config = sourced(&db, "file", &path, &[]);
    let database = watched(&db, open(&config).await).with_sessions(21);
    let mut said = format!("{config:?} {:?}", &*database);
    database.write(user).await.unwrap();
    // One that works, one that does not, one that is broken, and one through code.
    change(&db, &secrets, &second).await;
    reaches_generation(&database, 2).await;
    secrets.put_json("secret", db.role().name(), &wrong);
    let refused = database.refresh().await.unwrap_err();
    secrets.put("secret", &format!("{{\"password\":\"{wrong}"));
    let broken = database.refresh().await.unwrap_err();
    secrets.put("secret", &format!("postgres://u:{wrong}@h/d"));
    let unread = database.refresh().await.unwrap_err();
    let rotated = database
        .rotate(Credentials::new(db.role().name(), wrong.clone()))
        .await
        .unwrap_err();
    let mut error = &refused as &dyn std::error::Error;
    while let Some(cause) = error.source() {
        said.push_str(&format!(" {cause} {cause:?}"));
        error = cause;
    }
    said.push_str(&format!(
        "{refused} {refused:?} {broken} {broken:?} {unread} {unread:?} {rotated:?} {:?} {:?} {:?} {:?}",
        database.credentials(),
        database.status(),
        database.statements(),
        database.health().await,
    ));
    for secret in [&first, &second, &wrong] {
        assert!(!betrays(&said, secret), "{said}");
        for run in ["canary", &secret[RUN..2 * RUN], &secret[4_000..4_000 + RUN]] {
            assert!(!captured.mentions(run), "{run}");
        }
    }
    drop(guard);
    // Back to what the fixtures know.
    secrets.put_json("secret", db.role().name(), &second);
    database.refresh().await.map(drop).unwrap();
    database.rests().await;
}

/// The command line and the environment of every process of the machine.
fn processes() -> String {
    let mut said = String::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            // Some end meanwhile, and some are another user's.
            let bytes = std::fs::read(process.path().join(file)).unwrap_or_default();
            said.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    said
}

/// case R49: the service as a process: its output at the level of TRACE, its pages, and the command line and the
/// environment of every process, the server's among them.
#[tokio::test]
async fn the_secret_is_in_nothing_that_a_service_shows() {
    let db = TestDatabase::create().await.unwrap();
    let Hunted {
        secrets,
        path,
        first,
        second,
        ..
    } = Hunted::begin(&db).await;
    let url = harness::url(db.server().port(), db.name(), db.role().name(), "nobody");
    let mut ledger = Command::new(programs::ledger())
        .env_clear()
        .envs([
            ("LEDGER_LISTEN", "127.0.0.1:0"),
            ("DATABASE_URL", &url),
            ("APP_ENV", "test"),
            ("APP_DB__CREDENTIALS__SOURCE", "file"),
            ("APP_DB__CREDENTIALS__PATH", path.to_str().unwrap()),
            ("APP_DB__CREDENTIALS__POLL", "100ms"),
            ("RUST_LOG", "trace"),
        ])
        .current_dir(secrets.0.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(ledger.stdout.take().unwrap()).lines();
    let address = lines.next_line().await.unwrap().unwrap();
    let mut errors = ledger.stderr.take().unwrap();
    let logging = tokio::spawn(async move {
        let mut log = String::new();
        errors.read_to_string(&mut log).await.unwrap();
        log
    });
    let logged = tokio::spawn(async move {
        let mut log = String::new();
        while let Ok(Some(line)) = lines.next_line().await {
            log.push_str(&line);
        }
        log
    });
    change(&db, &secrets, &second).await;
    let page = |path: &str| {
        let url = format!("http://{address}{path}");
        async move { reqwest::get(url).await.unwrap().text().await.unwrap() }
    };
    harness::wait_until("the new one is in use", crate::SOON, async || {
        page("/status").await.contains("\"generation\":2") && page("/ready").await.len() < 10_000
    })
    .await;
    let mut said = format!("{} {}", page("/status").await, page("/ready").await);
    let processes = processes();
    assert!(processes.contains(&url));
    // Other tests have the word in their names.
    assert!(!has_a_run(&processes, &first) && !has_a_run(&processes, &second));
    ledger.kill().await.unwrap();
    said.push_str(&logging.await.unwrap());
    said.push_str(&logged.await.unwrap());
    assert!(said.contains("in place") && said.len() > 5_000, "{said}");
    assert!(!betrays(&said, &first) && !betrays(&said, &second));
}

/// case R49: the command line.
#[tokio::test]
async fn the_secret_is_in_nothing_that_dbctl_prints() {
    let db = TestDatabase::empty().await.unwrap();
    let Hunted {
        secrets,
        path,
        first: secret,
        ..
    } = Hunted::begin(&db).await;
    let url = harness::url(db.server().port(), db.name(), db.role().name(), "nobody");
    let dbctl = Dbctl::new()
        .with("DATABASE_URL", url)
        .with("RUST_LOG", "trace")
        .with("APP_DB__CREDENTIALS__SOURCE", "file")
        .with("APP_DB__CREDENTIALS__PATH", path.to_str().unwrap());
    for arguments in [
        "credentials check",
        "credentials check --json",
        "config show",
        "config check",
        "health",
    ] {
        let outcome = dbctl.run(arguments).await;
        assert!(!betrays(&format!("{outcome:?}"), &secret), "{arguments}");
    }
    secrets.put_json("secret", db.role().name(), &canary(2));
    let outcome = dbctl.run("credentials check").await;
    assert!(!betrays(&format!("{outcome:?}"), &canary(2)));
}

/// case R49: the page, the report and the metrics, after rotations to what works and to what does not.
#[tokio::test]
async fn the_secret_is_in_no_page_and_in_no_metric() {
    let db = TestDatabase::empty().await.unwrap();
    let Hunted {
        secrets,
        path,
        first,
        second,
        wrong,
    } = Hunted::begin(&db).await;
    let database = open(&sourced(&db, "file", &path, &[])).await;
    let operations = Operations::of(&database).start();
    change(&db, &secrets, &second).await;
    reaches_generation(&database, 2).await;
    secrets.put_json("secret", db.role().name(), &wrong);
    database.refresh().await.unwrap_err();
    database.write(user).await.unwrap();
    let exporter = Exporter::with_fingerprints(&database, None, 10);
    let said = [
        page::html(&operations).await,
        serde_json::to_string(&operations.report()).unwrap(),
        exporter.encode(Format::Prometheus),
        exporter.encode(Format::OpenMetrics),
    ];
    for said in said {
        assert!(said.contains("write"), "{said}");
        for secret in [&first, &second, &wrong] {
            assert!(!betrays(&said, secret), "{said}");
        }
    }
}

/// case R49: a panic in the midst of work, with all that can be shown in it.
#[tokio::test]
async fn the_secret_is_in_no_panic() {
    if !has_its_own_process() {
        return;
    }
    let db = TestDatabase::empty().await.unwrap();
    let Hunted {
        secrets: _secrets,
        path,
        first: secret,
        ..
    } = Hunted::begin(&db).await;
    let config = sourced(&db, "file", &path, &[]);
    let database = open(&config).await;
    let heard = Arc::<Mutex<String>>::default();
    let hook = Arc::clone(&heard);
    std::panic::set_hook(Box::new(move |panic| {
        hook.lock().unwrap().push_str(&panic.to_string());
    }));
    let panicking = tokio::spawn(async move {
        let shown = format!("{config:?} {database:?} {:?}", database.credentials());
        let conn = database.get().await.unwrap();
        panic!("it panics: {shown} {conn:?}");
    });
    let panic = panicking.await.unwrap_err().into_panic();
    drop(std::panic::take_hook());
    let mut said = panic.downcast_ref::<String>().unwrap().clone();
    said.push_str(&heard.lock().unwrap());
    // Places in this file are named for it.
    let said = said.replace(file!(), "");
    assert!(!betrays(&said, &secret), "{said}");
    assert_eq!(said.matches("it panics").count(), 2, "{said}");
}

/// case R49: whatever of it stands in a URL as it is, no part of it becomes a name that a resolver is asked for.
#[test]
fn no_part_of_the_secret_becomes_a_host() {
    let secret = canary(1);
    let mut parsed = 0;
    for at in 0..500 {
        let url = format!("postgres://app:{}@127.0.0.1/app", &secret[at..]);
        match PooledUrl::parse(&url) {
            Ok(url) => {
                assert_eq!(url.endpoint().address(), "127.0.0.1:5432/app");
                parsed += 1;
            }
            Err(error) => assert!(!betrays(&format!("{error} {error:?}"), &secret), "{error}"),
        }
    }
    // Escaped it is a password, and the host is the host.
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = PooledUrl::parse(&format!("postgres://app:{escaped}@127.0.0.1/app")).unwrap();
    assert_eq!(url.endpoint().address(), "127.0.0.1:5432/app");
    assert!(!betrays(&format!("{url:?} {url}"), &secret) && parsed < 500);
}
