//! Whether statements have become slower. Each fingerprint is compared with itself, so that a different mix of
//! statements does not look like a slower server.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use app_db::db_pool::plumbing::Recorded;

/// Compares the last interval of each fingerprint with the ten before.
#[derive(Debug, Default)]
pub(crate) struct Slowness {
    tracks: HashMap<Arc<str>, Track>,
}

#[derive(Debug, Default)]
struct Track {
    /// Everything that was ever recorded.
    all: HashMap<u64, u64>,
    /// What was recorded in each of the last intervals.
    intervals: VecDeque<Recorded>,
}

impl Slowness {
    /// Takes everything recorded for each fingerprint at the end of an interval. Returns how much longer the median
    /// took than in the ten intervals before: 1 is as long, 2 is twice as long. Each fingerprint is weighted by the
    /// time that it took. `None` if no fingerprint has run often enough in both.
    pub(crate) fn update(&mut self, recorded: Vec<(Arc<str>, Recorded)>) -> Option<f64> {
        let (mut weights, mut ratios) = (0.0, 0.0);
        let mut seen = HashMap::with_capacity(recorded.len());
        for (fingerprint, recorded) in recorded {
            let mut track = self.tracks.remove(&fingerprint).unwrap_or_default();
            let interval = track.advance(&recorded);
            let before: Recorded = track.intervals.iter().flatten().copied().collect();
            if let (Some(now), Some(then)) = (median(&interval), median(&before)) {
                let weight: f64 = interval.iter().map(|(us, n)| (us * n) as f64).sum();
                weights += weight;
                ratios += weight * (now.max(1) as f64 / then.max(1) as f64);
            }
            track.intervals.push_back(interval);
            let beyond = track.intervals.len().saturating_sub(KEPT);
            track.intervals.drain(..beyond);
            seen.insert(fingerprint, track);
        }
        // A fingerprint that has left the table starts again when it comes back.
        self.tracks = seen;
        (weights > 0.0).then(|| ratios / weights)
    }
}

impl Track {
    /// What was recorded since the last interval.
    fn advance(&mut self, recorded: &[(u64, u64)]) -> Recorded {
        let now: HashMap<_, _> = recorded.iter().copied().collect();
        let before = |value: &u64| self.all.get(value).copied().unwrap_or(0);
        let has_begun_anew = self
            .all
            .iter()
            .any(|(value, count)| now.get(value).copied().unwrap_or(0) < *count);
        let came = match has_begun_anew {
            true => recorded.to_vec(),
            false => recorded
                .iter()
                .map(|(value, count)| (*value, count - before(value)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        };
        self.all = now;
        came
    }
}

/// The median, if there are enough runs.
fn median(recorded: &[(u64, u64)]) -> Option<u64> {
    let all: u64 = recorded.iter().map(|(_, count)| count).sum();
    if all < ENOUGH {
        return None;
    }
    let mut sorted = recorded.to_vec();
    sorted.sort_unstable();
    let mut below = 0;
    let at = sorted.iter().find(|(_, count)| {
        below += count;
        below * 2 >= all
    });
    at.map(|(value, _)| *value)
}

/// With how many intervals the last one is compared.
const KEPT: usize = 10;

/// The minimum of runs for a median.
const ENOUGH: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, &[(u64, u64)])]) -> Vec<(Arc<str>, Recorded)> {
        let entry = |(name, recorded): &(&str, &[(u64, u64)])| ((*name).into(), recorded.to_vec());
        entries.iter().map(entry).collect()
    }

    /// A statement that takes twice as long is noticed, once there is something to compare it with.
    #[test]
    fn a_slower_statement_is_seen() {
        let mut slowness = Slowness::default();
        assert_eq!(slowness.update(of(&[("a", &[(1_000, 100)])])), None);
        assert_eq!(slowness.update(of(&[("a", &[(1_000, 200)])])), Some(1.0));
        let slower = slowness.update(of(&[("a", &[(1_000, 200), (2_000, 100)])]));
        assert_eq!(slower, Some(2.0));
        // Five runs are not enough.
        assert_eq!(
            slowness.update(of(&[("a", &[(1_000, 205), (2_000, 100)])])),
            None
        );
    }

    /// A different mix does not mean a slower server: each statement takes as long as before.
    #[test]
    fn another_mix_is_not_slower() {
        let mut slowness = Slowness::default();
        slowness.update(of(&[
            ("quick", &[(1_000, 1_000)]),
            ("slow", &[(50_000, 10)]),
        ]));
        let mixed = of(&[("quick", &[(1_000, 1_010)]), ("slow", &[(50_000, 1_010)])]);
        assert_eq!(slowness.update(mixed), Some(1.0));
        let new = of(&[("quick", &[(1_000, 1_020)]), ("new", &[(90_000, 500)])]);
        assert_eq!(slowness.update(new), Some(1.0));
    }

    /// A reset of the statistics does not count as negative times.
    #[test]
    fn a_reset_is_no_change() {
        let mut slowness = Slowness::default();
        slowness.update(of(&[("a", &[(1_000, 1_000)])]));
        assert_eq!(slowness.update(of(&[("a", &[(1_000, 20)])])), Some(1.0));
    }
}
