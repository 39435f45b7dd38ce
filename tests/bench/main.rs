//! What our connections and pools cost and save, compared with plain diesel-async and bb8 in the same
//! run.
//!
//! Each question is a function, and the first line of its documentation states it. It prints the
//! number that answers the question, and whether the number reaches its target. Arguments are parts of
//! the names of the questions to ask: `cargo bench -p db-tests --bench compare -- update`.
//!
//! The machine is noisy and the server is on it: only ratios within one run mean anything, as medians
//! of interleaved pairs.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod accounts;
mod bb8_pool;
mod checkout;
mod contenders;
mod deadpool;
mod pairs;
mod queue;
mod start;
mod statements;
mod telemetry;
mod transactions;
mod wait;

use std::io::Write;

use self::contenders::Contenders;

/// Prints a line for the user.
fn say(line: &str) {
    // If standard output is closed, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

// One thread: a statement wakes only its own thread, as it mostly does in a service.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let contenders = Contenders::start().await;
    for (name, ask) in QUESTIONS {
        if asked.is_empty() || asked.iter().any(|part| name.contains(part)) {
            ask(&contenders, name).await;
        }
    }
}

type Ask = for<'c> fn(&'c Contenders, &'static str) -> futures_util::future::LocalBoxFuture<'c, ()>;

const QUESTIONS: [(&str, Ask); 16] = [
    ("first row", |c, name| Box::pin(start::first_row(c, name))),
    ("update", |c, name| Box::pin(statements::update(c, name))),
    ("select", |c, name| Box::pin(statements::select(c, name))),
    ("one-update transaction", |c, name| {
        Box::pin(transactions::one_update(c, name))
    }),
    ("three-statement transaction", |c, name| {
        Box::pin(transactions::three_statements(c, name))
    }),
    ("read", |c, name| Box::pin(transactions::read(c, name))),
    ("transaction by write", |c, name| {
        Box::pin(transactions::by_write(c, name))
    }),
    (
        "transaction by write against deadpool-postgres",
        |c, name| Box::pin(transactions::by_write_against_deadpool(c, name)),
    ),
    ("update by get", |c, name| {
        Box::pin(checkout::update(c, name))
    }),
    ("select against bb8 with its defaults", |c, name| {
        Box::pin(checkout::against_defaults(c, name))
    }),
    ("select against bb8 without validation", |c, name| {
        Box::pin(checkout::against_unvalidated(c, name))
    }),
    ("telemetry of a select", |c, name| {
        Box::pin(telemetry::select(c, name))
    }),
    ("checkout and return", |c, name| {
        Box::pin(checkout::alone(c, name))
    }),
    ("grants in a queue of 10 000 and of 100", |c, name| {
        Box::pin(queue::grants(c, name))
    }),
    ("fairness", |c, name| Box::pin(queue::fairness(c, name))),
    ("worst wait", |c, name| Box::pin(wait::worst(c, name))),
];
