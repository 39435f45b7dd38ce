//! Interleaved pairs: ours and the other in turn, so that both meet the same weather.

use std::time::{Duration, Instant};

use crate::say;

const PAIRS: usize = 20;
const SAMPLE: Duration = Duration::from_millis(60);

/// What came of the pairs.
pub(crate) struct Outcome {
    name: &'static str,
    /// The other's time by ours, sorted: 2 is twice as fast.
    ratios: Vec<f64>,
    ours: Duration,
    theirs: Duration,
}

/// Measures how long one of each takes, as so many pairs; each call is one round.
pub(crate) async fn pairs(
    name: &'static str,
    mut ours: impl AsyncFnMut(),
    mut theirs: impl AsyncFnMut(),
) -> Outcome {
    // What is prepared and opened once is not the question.
    for _ in 0..20 {
        ours().await;
        theirs().await;
    }
    let (mut ratios, mut our_times, mut their_times) = (Vec::new(), Vec::new(), Vec::new());
    for nth in 0..PAIRS {
        let (one, other) = if nth % 2 == 0 {
            let one = sample(&mut ours).await;
            (one, sample(&mut theirs).await)
        } else {
            let other = sample(&mut theirs).await;
            (sample(&mut ours).await, other)
        };
        ratios.push(other.as_secs_f64() / one.as_secs_f64());
        our_times.push(one);
        their_times.push(other);
    }
    ratios.sort_by(f64::total_cmp);
    our_times.sort();
    their_times.sort();
    Outcome {
        name,
        ratios,
        ours: our_times[PAIRS / 2],
        theirs: their_times[PAIRS / 2],
    }
}

/// The time of one round, over many.
async fn sample(round: &mut impl AsyncFnMut()) -> Duration {
    let (began, mut rounds) = (Instant::now(), 0);
    while began.elapsed() < SAMPLE {
        round().await;
        rounds += 1;
    }
    began.elapsed() / rounds
}

impl Outcome {
    /// Prints the median ratio beside what it should be.
    pub(crate) fn answer(&self, target: f64) {
        let median = f64::midpoint(self.ratios[PAIRS / 2 - 1], self.ratios[PAIRS / 2]);
        let verdict = if median >= target {
            "PASS"
        } else {
            "short of target"
        };
        say(&format!(
            "{}: {median:.2} times as fast, target {target:.2}: {verdict} (quartiles {:.2} and {:.2}; {:?} against {:?})",
            self.name,
            self.ratios[PAIRS / 4],
            self.ratios[PAIRS * 3 / 4],
            self.ours,
            self.theirs,
        ));
    }
}
