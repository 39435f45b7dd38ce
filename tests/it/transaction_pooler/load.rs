//! Two processes with ten connections each, on five of the server's.

use std::process::Stdio;

use harness::{Bouncer, TestDatabase};
use serde::Deserialize;
use tokio::process::Command;

use super::Version;

/// What `mixed-load` says.
#[derive(Debug, Deserialize)]
struct Tally {
    right: u64,
    wrong: u64,
    failed: u64,
    examples: Vec<String>,
    pooler: String,
    opened: u64,
    discarded: u64,
}

/// How many questions each connection asks: `DB_TESTS_QUESTIONS`, or enough to take seconds.
fn questions() -> String {
    std::env::var("DB_TESTS_QUESTIONS").unwrap_or_else(|_unset| "100".to_owned())
}

const CONNECTIONS: u64 = 10;

async fn books() -> TestDatabase {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(
        "create type mood as enum ('sad', 'fine', 'glad'); \
         create table accounts (id int primary key, name text not null, balance bigint not null); \
         create table entries (id bigserial primary key, owner int not null, n int not null, mood mood not null); \
         create index on entries (owner, n); \
         create table counters (owner int primary key, n int not null); \
         insert into accounts select p * 100 + t, 'name' || p * 100 + t, 0 \
             from generate_series(1, 2) p, generate_series(0, 9) t; \
         insert into counters select id, 0 from accounts; \
         grant all on all tables in schema public to public; \
         grant all on all sequences in schema public to public",
    )
    .await
    .unwrap();
    db
}

async fn ask(url: &str, process: usize, stock: bool) -> Tally {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mixed-load"));
    command
        .args(["--url", url, "--process", &process.to_string()])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--questions", &questions()])
        .args(stock.then_some("--stock"))
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn ask_twice(db: &TestDatabase, bouncer: Option<&Bouncer>, stock: bool) -> [Tally; 2] {
    let url = bouncer.map_or_else(|| db.url(), |bouncer| db.pooled_url(bouncer));
    let tallies = tokio::join!(ask(&url, 1, stock), ask(&url, 2, stock));
    tallies.into()
}

fn assert_right(tallies: &[Tally]) {
    let asked = CONNECTIONS * (questions().parse::<u64>().unwrap() + 1);
    for tally in tallies {
        assert_eq!(
            (tally.right, tally.wrong, tally.failed),
            (asked, 0, 0),
            "{:#?}",
            tally.examples
        );
        assert!(tally.opened >= CONNECTIONS);
    }
}

/// The measure: the same questions without a pooler.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_right_without_a_pooler() {
    let db = books().await;
    let tallies = ask_twice(&db, None, false).await;
    assert_right(&tallies);
    assert!(
        tallies[0].pooler.starts_with("none"),
        "{}",
        tallies[0].pooler
    );
}

/// case R32, case F2, req 4.08.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_right_through_an_old_pgbouncer() {
    every_answer_is_right(Version::Old).await;
}

/// case R32, case F2.
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_right_through_a_new_pgbouncer_that_keeps_no_statements() {
    every_answer_is_right(Version::NewForgetful).await;
}

/// case R32, case F2, req 1.04
#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_right_through_a_new_pgbouncer_that_keeps_statements() {
    every_answer_is_right(Version::NewKeeping).await;
}

async fn every_answer_is_right(version: Version) {
    let db = books().await;
    let Some(bouncer) = version.start(db.server()).await else {
        return;
    };
    let tallies = ask_twice(&db, Some(&bouncer), false).await;
    assert_right(&tallies);
    let keeps = version == Version::NewKeeping;
    for tally in &tallies {
        assert_ne!(
            tally.pooler.contains("not proven"),
            keeps,
            "{}",
            tally.pooler
        );
    }
}

/// The contrast: plain diesel-async connections, asked the same through an old PgBouncer, fail.
#[tokio::test(flavor = "multi_thread")]
async fn plain_connections_fail_through_an_old_pgbouncer() {
    let db = books().await;
    let Some(bouncer) = Version::Old.start(db.server()).await else {
        return;
    };
    let tallies = ask_twice(&db, Some(&bouncer), true).await;
    assert!(
        tallies.iter().any(|tally| tally.failed + tally.wrong > 0),
        "{tallies:?}"
    );
    assert_eq!(tallies[0].discarded, 0);
}
