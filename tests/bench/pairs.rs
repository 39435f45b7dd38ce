//! Interleaved pairs: ours and the other in turn, so that both run under the same conditions.

use std::time::{Duration, Instant};

use crate::say;

const PAIRS: usize = 20;
/// Each pair consists of this many short slices of either side, in turn. A disturbance that lasts longer
/// than a slice affects both sides.
const SLICES: usize = 30;
const SLICE: Duration = Duration::from_micros(2500);

/// The result of the pairs.
pub(crate) struct Outcome {
    name: &'static str,
    /// The other's time divided by ours, sorted: 2 means twice as fast.
    ratios: Vec<f64>,
    ours: Duration,
    theirs: Duration,
}

/// Measures how long one round of each side takes, in several pairs. Each call is one round.
pub(crate) async fn pairs(
    name: &'static str,
    mut ours: impl AsyncFnMut(),
    mut theirs: impl AsyncFnMut(),
) -> Outcome {
    // The first rounds prepare statements and open connections, and are not measured.
    for _ in 0..20 {
        ours().await;
        theirs().await;
    }
    let mut sampled = Vec::new();
    for _ in 0..PAIRS {
        let (mut one, mut other) = (Spent::default(), Spent::default());
        for nth in 0..SLICES {
            if nth % 2 == 0 {
                one.slice(&mut ours).await;
                other.slice(&mut theirs).await;
            } else {
                other.slice(&mut theirs).await;
                one.slice(&mut ours).await;
            }
        }
        sampled.push((one.per_round(), other.per_round()));
    }
    Outcome::of(name, sampled)
}

/// The time of one side's rounds.
#[derive(Default)]
struct Spent {
    time: Duration,
    rounds: u32,
}

impl Spent {
    async fn slice(&mut self, round: &mut impl AsyncFnMut()) {
        let began = Instant::now();
        while began.elapsed() < SLICE {
            round().await;
            self.rounds += 1;
        }
        self.time += began.elapsed();
    }

    fn per_round(&self) -> Duration {
        self.time / self.rounds
    }
}

impl Outcome {
    /// The result of pairs that were measured elsewhere: our time and the other's.
    pub(crate) fn of(name: &'static str, sampled: Vec<(Duration, Duration)>) -> Self {
        let ratio =
            |(ours, theirs): &(Duration, Duration)| theirs.as_secs_f64() / ours.as_secs_f64();
        let mut ratios: Vec<f64> = sampled.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let (mut ours, mut theirs): (Vec<_>, Vec<_>) = sampled.into_iter().unzip();
        ours.sort();
        theirs.sort();
        Self {
            name,
            ratios,
            ours: ours[ours.len() / 2],
            theirs: theirs[theirs.len() / 2],
        }
    }

    /// Prints the median ratio beside what it should be.
    pub(crate) fn answer(&self, target: f64) {
        let count = self.ratios.len();
        let median = f64::midpoint(self.ratios[count / 2 - 1], self.ratios[count / 2]);
        let verdict = if median >= target {
            "PASS"
        } else {
            "short of target"
        };
        say(&format!(
            "{}: {median:.2} times as fast, target {target:.2}: {verdict} (quartiles {:.2} and {:.2}; {:?} against {:?})",
            self.name,
            self.ratios[count / 4],
            self.ratios[count * 3 / 4],
            self.ours,
            self.theirs,
        ));
    }
}
