//! `dbctl top` beside a running ledger, piped and on a terminal.

use std::process::Stdio;

use harness::TestDatabase;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::SOON;
use crate::dbctl::Dbctl;
use crate::programs;

/// A ledger with its page; it ends when its input closes, or with this.
struct Ledger {
    _process: Child,
    page: String,
}

impl Ledger {
    async fn start(db: &TestDatabase) -> Self {
        let mut process = Command::new(programs::ledger())
            .env_clear()
            .env("DATABASE_URL", db.url())
            .env("LEDGER_LISTEN", "127.0.0.1:0")
            .env("LEDGER_PAGE_LISTEN", "127.0.0.1:0")
            .env("LEDGER_ENDS_WITH_INPUT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let _service = lines.next_line().await.unwrap().unwrap();
        let page = lines.next_line().await.unwrap().unwrap();
        Self {
            _process: process,
            page: format!("http://{page}"),
        }
    }
}

/// The page of the ledger is served; piped, `top` prints it once, as text or as JSON.
#[tokio::test]
async fn top_prints_once_where_nobody_looks_at_a_screen() {
    let db = TestDatabase::create().await.unwrap();
    let ledger = Ledger::start(&db).await;
    let dbctl = Dbctl::new();
    let text = dbctl
        .run(&format!("top --url {}", ledger.page))
        .await
        .ended_with(0)
        .stdout;
    assert!(
        text.contains("The pool is well.") || text.contains("pools are well."),
        "{text}"
    );
    assert!(text.contains("write") && !text.contains('\u{1b}'), "{text}");
    let once = dbctl
        .run(&format!("top --once --url {}/", ledger.page))
        .await
        .ended_with(0)
        .stdout;
    assert!(once.contains("write"), "{once}");
    let json = dbctl
        .run(&format!("top --json --url {}/status.json", ledger.page))
        .await;
    let json: Value = serde_json::from_str(&json.ended_with(0).stdout).unwrap();
    assert_eq!(
        (&json["schema"], &json["pools"][0]["pool"]),
        (&1.into(), &"write".into())
    );
    let nobody = "top --once --url http://127.0.0.1:1/";
    dbctl
        .run(nobody)
        .await
        .ended_with(8)
        .says("no status page at http://127.0.0.1:1/status.json");
    let metrics = reqwest::get(format!("{}/metrics", ledger.page))
        .await
        .unwrap();
    assert!(
        metrics
            .text()
            .await
            .unwrap()
            .contains("db_client_connection_max")
    );
}

/// On a terminal of 80 by 24 that changes its size, `top` ends by q and by Ctrl-C and leaves the terminal as it
/// was.
#[tokio::test]
async fn top_leaves_the_terminal_as_it_was() {
    let db = TestDatabase::create().await.unwrap();
    let ledger = Ledger::start(&db).await;
    for key in ["q", "\u{3}"] {
        let resize = tempfile::tempdir().unwrap();
        let asked = resize.path().join("asked");
        let command = format!(
            "stty rows 24 cols 80; \
             (until [ -e {} ]; do sleep 0.05; done; stty -F /dev/tty rows 10 cols 40) & \
             {} top --url {} --every 100ms; echo ended=$?; stty -a",
            asked.display(),
            programs::dbctl().display(),
            ledger.page
        );
        let mut script = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = script.stdout.take().unwrap();
        let mut input = script.stdin.take().unwrap();
        let mut seen = String::new();
        let mut buffer = [0; 4096];
        // Everything is drawn again when the size has changed.
        while seen.matches("q quit").count() < 2 {
            if seen.contains("q quit") {
                std::fs::write(&asked, "").unwrap();
            }
            let count = timeout(SOON, output.read(&mut buffer))
                .await
                .unwrap()
                .unwrap();
            assert!(count > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        input.write_all(key.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        timeout(SOON, output.read_to_end(&mut rest))
            .await
            .unwrap()
            .unwrap();
        seen.push_str(&String::from_utf8_lossy(&rest));
        assert!(seen.contains("ended=0"), "{key:?}: {seen:?}");
        assert!(
            seen.contains("\u{1b}[?1049h") && seen.contains("\u{1b}[?1049l"),
            "{seen:?}"
        );
        let (_, after) = seen.split_once("ended=0").unwrap();
        assert!(
            after.contains(" echo") && after.contains(" icanon"),
            "{after}"
        );
        assert!(
            !after.contains("-icanon") && !after.contains("-echo "),
            "{after}"
        );
    }
}
