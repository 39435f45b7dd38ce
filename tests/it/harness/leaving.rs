//! What remains when a process ends, by whatever means: nothing.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::{through_port, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::NoTls;

const WITH_CLUSTER: &str = env!("CARGO_BIN_EXE_with-cluster");

#[tokio::test]
async fn with_cluster_gives_urls_that_work_and_leaves_nothing_after_its_command() {
    let mut running = start(&[]);
    let client = connect(&running.direct).await.unwrap();
    client
        .batch_execute("CREATE TABLE t (n int)")
        .await
        .unwrap();
    assert_eq!(running.pooled, running.direct);
    drop(running.child.stdin.take());
    assert_eq!(running.child.wait().unwrap().code(), Some(7));
    running.wait_until_gone().await;
}

#[tokio::test]
async fn with_cluster_puts_a_bouncer_behind_the_pooled_url() {
    let mut running = start(&["--bouncer", "transaction"]);
    assert_ne!(running.pooled, running.direct);
    let port = running
        .pooled
        .rsplit(['/', ':'])
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(through_port(&running.direct, port), running.pooled);
    connect(&running.pooled)
        .await
        .unwrap()
        .simple_query("SELECT 1")
        .await
        .unwrap();
    // `wait` would close it first, and its end ends the command as well.
    let _input = running.child.stdin.take();
    signal(&running.child, Signal::TERM);
    assert_eq!(running.child.wait().unwrap().code(), Some(128 + 15));
    assert!(connect(&running.pooled).await.is_err());
    running.wait_until_gone().await;
}

#[tokio::test]
async fn nothing_remains_when_with_cluster_is_killed() {
    let mut running = start(&["--bouncer", "session"]);
    let client = connect(&running.pooled).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    signal(&running.child, Signal::KILL);
    running.child.wait().unwrap();
    running.wait_until_gone().await;
    assert!(connect(&running.pooled).await.is_err());
}

#[test]
fn with_cluster_says_what_to_install_when_there_is_no_server() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(WITH_CLUSTER)
        .arg("true")
        .env("DB_TESTS_POSTGRES_BIN", empty.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("apt-get install postgresql"));
}

/// A `with-cluster` whose command tells its variables, waits for the end of its input and exits with 7.
struct Running {
    child: Child,
    pooled: String,
    direct: String,
    folder: PathBuf,
}

fn start(arguments: &[&str]) -> Running {
    let script = r#"echo "$DATABASE_URL"; echo "$DATABASE_URL_DIRECT"; echo "$DB_TESTS_CLUSTER"; read -r x; exit 7"#;
    let mut child = Command::new(WITH_CLUSTER)
        .args(arguments)
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut line = || lines.next().unwrap();
    Running {
        pooled: line(),
        direct: line(),
        folder: PathBuf::from(line()),
        child,
    }
}

impl Running {
    async fn wait_until_gone(&self) {
        wait_until(
            "the server and its folder are gone",
            Duration::from_secs(10),
            async || !self.folder.exists() && connect(&self.direct).await.is_err(),
        )
        .await;
    }
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
