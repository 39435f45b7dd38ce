//! Our pool beside its peers, in one table: directly, through PgBouncer 1.24, and with a millisecond of delay.
//!
//! Every figure is a rate relative to bb8 without validation, as diesel-async sets it up, in the same run. It is
//! the median of interleaved rounds, with the lowest and the highest. All figures are in
//! `target/bench/table.json` too. Arguments are parts of the names of rows and ways:
//! `cargo bench -p db-tests --bench table -- select direct`.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../accounts.rs"]
mod accounts;
#[path = "../bb8_pool.rs"]
mod bb8_pool;
mod cold;
mod peer;
mod rounds;
mod ways;

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use self::peer::{Peer, WORK};
use self::rounds::Figure;
use self::ways::Way;

/// One row of the table on one way.
#[derive(Serialize)]
struct Row {
    way: &'static str,
    what: String,
    unit: &'static str,
    figures: Vec<Figure>,
}

fn say(line: &str) {
    // If standard output is closed, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

// As many threads as a service has: one for each core.
#[tokio::main]
async fn main() {
    let arguments = std::env::args().skip(1);
    let asked: Vec<String> = arguments
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|part| name.contains(part));
    let mut rows = Vec::new();
    for way in Way::all().await {
        let peers = Peer::all(&way).await;
        for (work, name) in WORK {
            for (tasks, shape) in [(64, "64 tasks on 10 connections"), (1, "1 task")] {
                let what = format!("{name}, {shape}");
                if is_asked(&format!("{} {what}", way.name)) {
                    let figures = rounds::compare(&peers, work, tasks).await;
                    rows.push(told(way.name, what, "per second", figures));
                }
            }
        }
        drop(peers);
        let what = "cold pool of 10, the last of 200 tasks is served".to_owned();
        if is_asked(&format!("{} {what}", way.name)) {
            rows.push(told(way.name, what, "ms", cold::compare(&way).await));
        }
        let what = "first row of a process".to_owned();
        if is_asked(&format!("{} {what}", way.name)) {
            rows.push(told(way.name, what, "ms", cold::first_row(&way).await));
        }
    }
    let folder = Path::new(FOLDER);
    std::fs::create_dir_all(folder).unwrap();
    let file = folder.join("table.json");
    std::fs::write(&file, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
    say(&format!("report: {}", file.display()));
}

/// Prints a row as soon as it is measured.
fn told(way: &'static str, what: String, unit: &'static str, figures: Vec<Figure>) -> Row {
    say(&format!("\n{way}: {what}"));
    for figure in &figures {
        say(&format!("  {figure} {unit}"));
    }
    Row {
        way,
        what,
        unit,
        figures,
    }
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
