//! A holder reads the same as a plain connection, whatever it and others did before.
//!
//! A random sequence runs on pooled connections. Beside each, the same sequence runs on a plain diesel-async
//! connection, which is made when the holder comes and has a database of its own that is changed in the same
//! way. All answers of the two must be the same: columns, types, values, affected rows, messages of failures.
//! A sequence has a number: `DB_TESTS_MODEL_SEED=7 just it model` runs only that one.

mod answer;
mod run;
mod sequence;

use std::fmt::Write;

use harness::Cluster;

use self::run::{Mismatch, Way, run};
use self::sequence::{Step, by_chance};
use crate::transaction_pooler::Version;

/// As many as run within some seconds; `DB_TESTS_MODEL_SEEDS` asks for more.
const SEQUENCES: u64 = 30;

#[tokio::test]
async fn a_borrower_reads_what_a_plain_connection_reads() {
    let server = Cluster::shared().await.unwrap();
    let way = Way::direct(server);
    all_agree(&way).await;
}

#[tokio::test]
async fn a_borrower_behind_a_pooler_reads_what_a_plain_connection_reads() {
    let server = Cluster::shared().await.unwrap();
    let Some(bouncer) = Version::NewKeeping.start(server).await else {
        return;
    };
    let way = Way::through(server, bouncer);
    all_agree(&way).await;
}

/// # Panics
/// With the numbers of all sequences with different answers, and the shortest form of the first ones.
async fn all_agree(way: &Way) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("DB_TESTS_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DB_TESTS_MODEL_SEEDS").unwrap_or(SEQUENCES),
    };
    let (mut failed, mut told) = (Vec::new(), String::new());
    for seed in seeds {
        let steps = by_chance(seed);
        let Some(mismatch) = run(way, &steps).await else {
            continue;
        };
        failed.push(seed);
        if failed.len() <= SHORTENED {
            let (steps, mismatch) = shortest(way, steps, mismatch).await;
            // Writing to a String does not fail.
            let _ = writeln!(told, "\nsequence {seed}, made as short as can be:");
            for step in steps {
                let _ = writeln!(told, "  {step}");
            }
            let _ = writeln!(told, "{mismatch}");
        }
    }
    assert!(
        failed.is_empty(),
        "sequences {failed:?} are answered otherwise{told}"
    );
}

/// Leaves steps out for as long as the answers still differ.
async fn shortest(
    way: &Way,
    mut steps: Vec<Step>,
    mut mismatch: Mismatch,
) -> (Vec<Step>, Mismatch) {
    steps.truncate(mismatch.step + 1);
    let mut length = steps.len() / 2;
    let mut attempts = ATTEMPTS;
    while length > 0 && attempts > 0 {
        let mut start = 0;
        while start + length < steps.len() && attempts > 0 {
            attempts -= 1;
            let mut fewer = steps.clone();
            fewer.drain(start..start + length);
            match run(way, &fewer).await {
                Some(found) => {
                    fewer.truncate(found.step + 1);
                    (steps, mismatch) = (fewer, found);
                }
                None => start += length,
            }
        }
        length /= 2;
    }
    (steps, mismatch)
}

/// How many sequences are made short, and how many shorter ones are tried for each.
const SHORTENED: usize = 3;
const ATTEMPTS: u32 = 100;
