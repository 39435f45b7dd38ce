//! Interleaved rounds: each peer in turn for a short while, so that all run under the same
//! conditions.

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::peer::{Peer, Work};

/// The result of one peer.
#[derive(Serialize)]
pub(crate) struct Figure {
    who: &'static str,
    median: f64,
    lowest: f64,
    highest: f64,
    /// Relative to diesel-async with bb8: above 1 is better.
    ratio: f64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:20}{:5.2}  {:10.1} ({:.1} to {:.1})",
            self.who, self.ratio, self.median, self.lowest, self.highest
        )
    }
}

/// The rates of all peers, relative to the first one.
pub(crate) async fn compare(peers: &[Peer], work: Work, tasks: usize) -> Vec<Figure> {
    let peers: Vec<_> = peers.iter().filter(|peer| peer.does(work)).collect();
    let mut rates = vec![Vec::new(); peers.len()];
    // Opening and preparing happen once, and are not measured.
    for peer in &peers {
        rate(peer, work, tasks, SLICE / 2).await;
    }
    for round in 0..ROUNDS {
        for turn in 0..peers.len() {
            let place = (turn + round) % peers.len();
            rates[place].push(rate(peers[place], work, tasks, SLICE).await);
        }
    }
    let names = peers.iter().map(|peer| peer.name());
    figures(names.zip(rates).collect(), |rate, base| rate / base)
}

async fn rate(peer: &Peer, work: Work, tasks: usize, slice: Duration) -> f64 {
    let began = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let peer = peer.clone();
        running.spawn(async move {
            let mut rounds = 0_u32;
            while began.elapsed() < slice {
                peer.run(work).await;
                rounds += 1;
            }
            rounds
        });
    }
    let rounds: u32 = running.join_all().await.into_iter().sum();
    f64::from(rounds) / began.elapsed().as_secs_f64()
}

/// Sorts the measurements. The others are relative to the first.
pub(crate) fn figures(
    measured: Vec<(&'static str, Vec<f64>)>,
    ratio: impl Fn(f64, f64) -> f64,
) -> Vec<Figure> {
    let mut base = None;
    let mut figures = Vec::new();
    for (who, mut values) in measured {
        values.sort_by(f64::total_cmp);
        let median = values[values.len() / 2];
        figures.push(Figure {
            who,
            median,
            lowest: values[0],
            highest: values[values.len() - 1],
            ratio: ratio(median, *base.get_or_insert(median)),
        });
    }
    figures
}

const ROUNDS: usize = 5;
const SLICE: Duration = Duration::from_millis(500);
