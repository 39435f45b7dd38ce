//! What statements have cost, in counts that never decrease.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use app_db::{Snapshot, StatementStats};

/// The counts of the statements of one fingerprint in one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatementCount {
    pub(crate) pool: Arc<str>,
    pub(crate) fingerprint: Arc<str>,
    pub(crate) summary: Arc<str>,
    pub(crate) count: u64,
    pub(crate) total: Duration,
}

/// Counts a limited number of fingerprints separately as long as it lives, and adds up all others as `other`.
///
/// The pool forgets cheap fingerprints, and all of them when its statistics are reset. A counter must not
/// forget, or `rate()` would show load that never existed. So the first fingerprints keep their places here.
#[derive(Debug)]
pub(crate) struct StatementCounts {
    most: usize,
    /// By pool and fingerprint.
    kept: Mutex<HashMap<Key, Kept>>,
}

type Key = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Kept {
    summary: Arc<str>,
    /// What was counted before the pool's last reset.
    before: (u64, Duration),
    last: (u64, Duration),
}

impl StatementCounts {
    /// Keeps at most fifty, because each is a series for each pool.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.min(50),
            kept: Mutex::default(),
        }
    }

    /// The counts now, by pool and fingerprint.
    pub(crate) fn update(
        &self,
        snapshot: &Snapshot,
        statements: &[StatementStats],
    ) -> Vec<StatementCount> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The most expensive come first, and get the remaining places.
        for statement in statements.iter().filter(|one| &*one.fingerprint != OTHER) {
            let key = (
                Arc::clone(&statement.pool),
                Arc::clone(&statement.fingerprint),
            );
            let now = (statement.count, statement.total);
            let has_room = kept.len() < self.most;
            if let Some(known) = kept.get_mut(&key) {
                known.advance(now);
            } else if has_room {
                let new = Kept {
                    summary: Arc::clone(&statement.summary),
                    before: (0, Duration::ZERO),
                    last: now,
                };
                kept.insert(key, new);
            }
        }
        let mut counts: Vec<_> = kept
            .iter()
            .map(|((pool, fingerprint), kept)| StatementCount {
                pool: Arc::clone(pool),
                fingerprint: Arc::clone(fingerprint),
                summary: Arc::clone(&kept.summary),
                count: kept.before.0 + kept.last.0,
                total: kept.before.1 + kept.last.1,
            })
            .collect();
        let others = snapshot.pools.iter().map(|pool| other(pool, &counts));
        let others: Vec<_> = others.collect();
        counts.extend(others);
        counts.sort_by(|a, b| (&a.pool, &a.fingerprint).cmp(&(&b.pool, &b.fingerprint)));
        counts
    }
}

impl Kept {
    fn advance(&mut self, now: (u64, Duration)) {
        if now.0 < self.last.0 {
            self.before = (self.before.0 + self.last.0, self.before.1 + self.last.1);
        }
        self.last = now;
    }
}

/// What a pool has run besides the statements that are counted separately.
fn other(pool: &app_db::PoolSnapshot, kept: &[StatementCount]) -> StatementCount {
    let times = &pool.times;
    let all = || std::iter::once(&times.ran).chain(times.failed.iter().map(|(_, times)| times));
    let mine = || kept.iter().filter(|one| one.pool == pool.status.pool);
    let count: u64 = all().map(app_db::db_pool::TimeBuckets::count).sum();
    let total: Duration = all().map(|times| times.sum).sum();
    StatementCount {
        pool: Arc::clone(&pool.status.pool),
        fingerprint: OTHER.into(),
        summary: "".into(),
        count: count.saturating_sub(mine().map(|one| one.count).sum()),
        total: total.saturating_sub(mine().map(|one| one.total).sum()),
    }
}

const OTHER: &str = "other";
