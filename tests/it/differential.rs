//! Third-party statements: a sample of what `just differential` runs.

use std::process::Stdio;

use tokio::process::Command;

/// Runs the sample in one form over all ways to the server.
///
/// # Panics
/// With the table and the first differences, if an answer differs from plain diesel-async's. A missing corpus
/// is a failure too.
async fn is_as_plain(form: &str, routes: &[&str], more: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_differential"))
        .args([
            "--sample",
            "--forms",
            form,
            "--show",
            "10",
            "--minutes",
            "4",
        ])
        .args(["--report", &format!("sample-{form}-{}", more.join("-"))])
        .args(["--routes", &routes.join(",")])
        .args(more)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{told}", output.status);
    // It has compared, on each of the ways.
    for route in routes {
        let line = told.lines().find(|line| line.starts_with(*route)).unwrap();
        let same: u32 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
        assert!(same > 2_000, "{line}");
    }
}

#[tokio::test]
async fn simple_queries_are_answered_as_by_plain_diesel_async() {
    is_as_plain("simple", &ALL, &[]).await;
}

#[tokio::test]
async fn prepared_queries_are_answered_as_by_plain_diesel_async() {
    is_as_plain("extended", &ALL, &[]).await;
}

#[tokio::test]
async fn kept_queries_are_answered_as_by_plain_diesel_async() {
    is_as_plain("cached", &ALL, &[]).await;
}

/// Without any rewriting. Statements that diesel itself keeps prepared then outlive their holder, so they are
/// left out.
#[tokio::test]
async fn observed_queries_are_answered_as_by_plain_diesel_async() {
    is_as_plain("extended", &["direct"], &["--set", "wire=observe"]).await;
}

/// The ways to the server.
const ALL: [&str; 3] = ["direct", "1.18", "1.24"];
