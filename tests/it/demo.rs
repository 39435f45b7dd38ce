//! The demo as a newcomer meets it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::{SOON, programs};

/// A demo with folders of its own; killed on drop.
struct Demo {
    process: Child,
    progress: Lines<BufReader<ChildStderr>>,
    results: TempDir,
    /// Its `TMPDIR`.
    temporary: TempDir,
}

impl Demo {
    fn start(seconds: &str) -> Self {
        // The demo starts the ledger that lies beside it, so that is built here.
        programs::ledger();
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
        command.arg("--ledger-only");
        Self::start_by(command, seconds)
    }

    /// As a newcomer does, who has just cloned the repository.
    fn run(seconds: &str) -> Self {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../run"));
        command.arg("demo").env("DEMO_PROFILE", "dev");
        Self::start_by(command, seconds)
    }

    fn start_by(mut command: Command, seconds: &str) -> Self {
        let results = tempfile::tempdir().unwrap();
        // The servers may run as another account, which has to pass through.
        let passable = Permissions::from_mode(0o711);
        let temporary = tempfile::Builder::new()
            .permissions(passable)
            .tempdir()
            .unwrap();
        let mut process = command
            .args(["--seconds", seconds, "--folder"])
            .arg(results.path())
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let progress = BufReader::new(process.stderr.take().unwrap()).lines();
        Self {
            process,
            progress,
            results,
            temporary,
        }
    }

    async fn progress_says(&mut self, text: &str) {
        let mut said = Vec::new();
        while let Some(line) = self.progress.next_line().await.unwrap() {
            if line.contains(text) {
                return;
            }
            said.push(line);
        }
        panic!("the demo never said `{text}`, but: {said:#?}");
    }

    /// The exit code, and what it printed on standard output.
    async fn ended(&mut self) -> (Option<i32>, String) {
        let mut printed = String::new();
        let mut output = self.process.stdout.take().unwrap();
        output.read_to_string(&mut printed).await.unwrap();
        (self.process.wait().await.unwrap().code(), printed)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The processes that work in its `TMPDIR` or name it: PostgreSQL, PgBouncer, their shells, the ledger.
    fn processes(&self) -> Vec<(i32, String)> {
        let ours = self.temporary.path().to_str().unwrap();
        let known = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|process| {
                let pid = process.file_name().to_str()?.parse().ok()?;
                let command = fs::read(process.path().join("cmdline")).ok()?;
                let command = String::from_utf8_lossy(&command).replace('\0', " ");
                let directory = fs::read_link(process.path().join("cwd")).unwrap_or_default();
                let own = command.contains(ours) || directory.starts_with(ours);
                own.then_some((pid, command))
            });
        known.collect()
    }

    /// The process of one of the programs.
    fn process(&self, program: &str) -> Pid {
        let all = self.processes();
        let found = all.iter().find(|(_, command)| command.contains(program));
        let (pid, _) = found.unwrap_or_else(|| panic!("no {program} among {all:#?}"));
        Pid::from_raw(*pid).unwrap()
    }

    async fn assert_nothing_remains(&self) {
        wait_until("no process is left", SOON, async || {
            self.processes().is_empty()
        })
        .await;
        let left: Vec<_> = fs::read_dir(self.temporary.path())
            .unwrap()
            .flatten()
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn result(&self, file: &str) -> Option<String> {
        fs::read_to_string(Path::new(self.results.path()).join(file)).ok()
    }
}

/// req 4.45, req 4.46, case R40, req 3.36, req 3.41
#[tokio::test]
async fn two_rotations_under_load_fail_no_transfer_and_the_books_balance() {
    let mut demo = Demo::start("4");
    demo.progress_says("4/4 s").await;
    let (code, printed) = demo.ended().await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("GOOD"), "{printed}");

    let report: Value = serde_json::from_str(&demo.result("report.json").unwrap()).unwrap();
    let number = |name: &str| {
        report[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name}: {report}"))
    };
    assert_eq!(report["pooler"]["mode"], "transaction", "{report}");
    assert_eq!((number("errors"), number("rotations")), (0.0, 2.0));
    assert_eq!((number("ledger_sum"), number("secrets_in_log")), (0.0, 0.0));
    assert!(
        number("transfers_committed") > 500.0,
        "more than the deposits: {report}"
    );
    assert_eq!(number("ledger_rows"), 2.0 * number("transfers_committed"));
    assert!(number("connections_replaced") > 0.0 && number("slow_queries") >= 0.0);
    assert!(0.0 < number("p50_ms") && number("p50_ms") <= number("p99_ms"));
    let log = demo.result("ledger.log").unwrap();
    assert!(log.contains(r#""generation":3"#), "{log}");
    demo.assert_nothing_remains().await;
}

/// The same faults on plain diesel-async and bb8, and on ours.
#[tokio::test]
async fn the_comparison_shows_what_each_fault_does_to_either_side() {
    programs::ledger();
    let mut demo = Demo::start_by(Command::new(env!("CARGO_BIN_EXE_demo")), "3");
    demo.progress_says("seconds each of: no fault").await;
    let (code, printed) = demo.ended().await;
    assert_eq!(code, Some(0), "{printed}");
    let told: Value = serde_json::from_str(&demo.result("comparison.json").unwrap()).unwrap();
    let rows = told["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 6, "{told}");
    for row in rows {
        let fault = row["fault"].as_str().unwrap();
        assert!(printed.contains(fault), "{printed}");
        for wrong in ["errors", "wrong_answers", "money"] {
            assert_eq!(row["ours"][wrong], 0, "{told}");
        }
        assert!(
            row["ours"]["transfers_per_second"].as_u64() > Some(0),
            "{told}"
        );
    }
    let plain = |fault: &str, column: &str| {
        let row = rows
            .iter()
            .find(|row| row["fault"].as_str().unwrap().contains(fault));
        row.unwrap()["plain"][column].as_u64().unwrap()
    };
    assert_eq!(
        (plain("no fault", "errors"), plain("no fault", "money")),
        (0, 0),
        "{told}"
    );
    assert!(plain("hang up", "worst_wait_ms") > 1000, "{told}");
    assert!(plain("COMMIT", "money") > 0, "{told}");
    assert!(plain("password", "errors") > 0, "{told}");
    assert!(plain("reports", "worst_wait_ms") > 500, "{told}");
    demo.assert_nothing_remains().await;
}

#[tokio::test]
async fn an_interrupted_demo_leaves_no_process_and_no_folder() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut demo = Demo::start("60");
        demo.progress_says("/60 s").await;
        for program in ["postgres -D", "pgbouncer.ini", "/ledger "] {
            demo.process(program);
        }
        demo.signal(signal);
        let ended = tokio::time::timeout(SOON, demo.ended()).await.unwrap();
        assert_eq!(ended, (Some(code), String::new()));
        assert_eq!(demo.result("report.json"), None);
        demo.assert_nothing_remains().await;
    }
}

/// `just` passes on a SIGINT only if the terminal has sent it to all processes.
#[tokio::test]
async fn a_signal_for_the_run_script_alone_ends_the_demo() {
    let mut demo = Demo::run("60");
    demo.progress_says("/60 s").await;
    demo.signal(Signal::INT);
    let ended = tokio::time::timeout(SOON, demo.ended()).await.unwrap();
    assert_eq!(ended, (Some(130), String::new()));
    demo.assert_nothing_remains().await;
}

/// It had no time to remove its scratch folder; the servers' shells remove theirs.
#[tokio::test]
async fn a_killed_demo_leaves_no_process() {
    let mut demo = Demo::start("60");
    demo.progress_says("/60 s").await;
    demo.process("/ledger ");
    demo.signal(Signal::KILL);
    demo.process.wait().await.unwrap();
    wait_until("no process is left", 2 * SOON, async || {
        demo.processes().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_demo_interrupted_while_its_servers_start_leaves_nothing_either() {
    for delay in [0, 50, 300] {
        let mut demo = Demo::start("60");
        demo.progress_says("starting").await;
        // Somewhere during the start, which reports no steps, so only the time distinguishes the places.
        tokio::time::sleep(Duration::from_millis(delay)).await;
        demo.signal(Signal::INT);
        let ended = tokio::time::timeout(SOON, demo.ended()).await.unwrap();
        assert_eq!(ended.0, Some(130));
        demo.assert_nothing_remains().await;
    }
}

#[tokio::test]
async fn a_demo_whose_ledger_dies_says_so_and_ends_with_code_1() {
    let mut demo = Demo::start("4");
    demo.progress_says("/4 s").await;
    kill_process(demo.process("/ledger "), Signal::KILL).unwrap();
    demo.progress_says("demo failed: the ledger").await;
    assert_eq!(demo.ended().await, (Some(1), String::new()));
    demo.assert_nothing_remains().await;
}
