//! What our connection and its telemetry cost in instructions, allocations and memory. Noise does not affect
//! these.
//!
//! This program runs itself as a separate process that connects, does a number of rounds of one piece of work on
//! one side, and reports what it has allocated. If valgrind is installed, the process runs under callgrind, which
//! counts the instructions. Each measurement runs once with a number of rounds and once with twice as many. The
//! difference is the cost of the rounds alone, without start, login and end. Nothing on the server is counted.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

#[path = "../accounts.rs"]
mod accounts;
#[path = "../bb8_pool.rs"]
mod bb8_pool;
#[path = "../deadpool.rs"]
mod deadpool;
mod measure;
mod memory;
mod workload;

use std::alloc::System;
use std::io::Write;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::measure::Meter;
use self::workload::{Side, Workload};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Prints a line for the user.
fn say(line: &str) {
    // If standard output is closed, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

// One thread, so that each run does the same.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Cargo passes --bench to every bench.
    let arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    if let [work, side, rounds] = arguments.collect::<Vec<_>>().as_slice() {
        let (work, side) = (Workload::named(work), Side::named(side));
        return measure::be_measured(work, side, rounds.parse().unwrap()).await;
    }
    let db = accounts::database().await;
    let meter = Meter::new(db.url());
    if !meter.counts_instructions() {
        say("valgrind is not installed: instructions are not counted (apt-get install valgrind)");
    }
    for work in Workload::ALL {
        let ours = meter.cost(work, Side::Ours);
        let plain = meter.cost(work, Side::Plain);
        say(&format!("{}, ours:  {ours}", work.title()));
        say(&format!("{}, plain: {plain}", work.title()));
        if work.is_watched() {
            let unwatched = meter.cost(work, Side::Unwatched);
            let traced = meter.cost(work, Side::Traced);
            say(&format!(
                "{}, statistics and slow-query log: {}",
                work.title(),
                ours.above(unwatched)
            ));
            say(&format!(
                "{}, spans beside them: {}",
                work.title(),
                traced.above(ours)
            ));
        }
        if work == Workload::Checkout {
            let told = meter.cost(work, Side::Told);
            say(&format!(
                "{}, told to OpenTelemetry: {}",
                work.title(),
                told.above(ours)
            ));
            let exported = meter.cost(work, Side::Exported);
            let exported = exported.above(meter.cost(work, Side::OfDatabase));
            say(&format!(
                "{}, with an exporter: {exported}, {}",
                work.title(),
                exported.judged_by(50.0)
            ));
        }
        match work {
            Workload::FreshConnection => memory::judge(&ours, &plain),
            Workload::Connection => memory::tell_of_statements(&ours, &plain),
            _ => {}
        }
    }
}
