//! Statement statistics: the cost of each fingerprint in a pool, for the most expensive ones.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::fingerprint::Fingerprint;
use crate::histogram::{Histogram, Quantiles, Recorded};
use crate::telemetry::throttle::Throttle;
use db_wire::Command;

/// The cost of the statements of one fingerprint since the pool began, or since the last reset.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StatementStats {
    /// The pool that ran them.
    pub pool: Arc<str>,
    /// Sixteen hexadecimal digits, the same in every process; `other` for all fingerprints that had to
    /// make room.
    pub fingerprint: Arc<str>,
    /// The text with `?` for its values, and lists and rows folded into one; empty for `other`.
    pub text: Arc<str>,
    /// The verb and the table, as in `SELECT users`; empty for `other`.
    pub summary: Arc<str>,
    /// How often they ran, failures included.
    pub count: u64,
    /// Their failures by SQLSTATE, the most frequent first; 08006 if the connection ended before the
    /// answer.
    pub errors: Vec<(SqlState, u64)>,
    /// The rows that they returned or changed.
    pub rows: u64,
    /// The time from the sending of each, or from the end of the command before it, to the last row.
    pub total: Duration,
    /// The distribution of these times.
    pub times: Quantiles,
}

/// The statistics of one pool: a limited number of fingerprints, and all others together.
#[derive(Debug)]
pub(crate) struct StatementTable {
    pool: Arc<str>,
    known: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    entries: HashMap<u64, Arc<Entry>>,
    other: Option<Arc<Entry>>,
}

/// The counts of one fingerprint. A connection stores it with the text, so that it is looked up once.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) fingerprint: Fingerprint,
    id: Arc<str>,
    /// Whether it has left the table. Anything recorded in it then is lost, so a connection that stores
    /// it asks for its successor.
    retired: AtomicBool,
    /// The weight of the entry that it replaced. Its own weight has to grow beyond that to count.
    head_start: u64,
    total_micros: AtomicU64,
    rows: AtomicU64,
    times: Histogram,
    errors: Mutex<Vec<(SqlState, u64)>>,
    pub(crate) throttle: Throttle,
}

impl StatementTable {
    pub(crate) fn new(pool: Arc<str>) -> Self {
        Self {
            pool,
            known: Mutex::default(),
        }
    }

    /// The entry of a fingerprint. If the table is full, the cheapest entry makes room.
    pub(crate) fn entry(&self, fingerprint: &Fingerprint) -> Arc<Entry> {
        let mut known = self.lock();
        if let Some(entry) = known.entries.get(&fingerprint.hash) {
            return Arc::clone(entry);
        }
        let head_start = match known.entries.len() < MAX_FINGERPRINTS {
            true => 0,
            false => known.make_room(),
        };
        let entry = Arc::new(Entry::new(fingerprint.clone(), head_start));
        known.entries.insert(fingerprint.hash, Arc::clone(&entry));
        entry
    }

    /// What has been recorded, the most expensive first.
    pub(crate) fn stats(&self) -> Vec<StatementStats> {
        let entries: Vec<_> = {
            let known = self.lock();
            known
                .entries
                .values()
                .chain(&known.other)
                .cloned()
                .collect()
        };
        let mut stats: Vec<_> = entries
            .iter()
            .map(|entry| entry.stats(&self.pool))
            .filter(|stats| stats.count > 0)
            .collect();
        stats.sort_by_key(|stats| std::cmp::Reverse(stats.total));
        stats
    }

    /// The times of each fingerprint except `other`, as they were recorded.
    pub(crate) fn times(&self) -> Vec<(Arc<str>, Recorded)> {
        let entries: Vec<_> = self.lock().entries.values().cloned().collect();
        let times = |entry: Arc<Entry>| (Arc::clone(&entry.id), entry.times.recorded());
        entries.into_iter().map(times).collect()
    }

    /// Starts again from zero. Anything recorded at the same moment may be lost.
    pub(crate) fn reset(&self) {
        let known = std::mem::take(&mut *self.lock());
        for entry in known.entries.values() {
            entry.retired.store(true, Ordering::Release);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Adds the entry with the least weight to `other`, and returns its weight.
    ///
    /// The entry that takes its place starts with that weight. Otherwise two new statements would push
    /// each other out for ever, even if both are expensive (the algorithm is known as Space-Saving).
    fn make_room(&mut self) -> u64 {
        let lightest = self.entries.values().min_by_key(|entry| entry.weight());
        let Some(lightest) = lightest.cloned() else {
            return 0;
        };
        lightest.retired.store(true, Ordering::Release);
        self.entries.remove(&lightest.fingerprint.hash);
        self.other
            .get_or_insert_with(|| Arc::new(Entry::other()))
            .absorb(&lightest);
        lightest.weight()
    }
}

impl Entry {
    fn new(fingerprint: Fingerprint, head_start: u64) -> Self {
        Self {
            id: fingerprint.id().into(),
            fingerprint,
            retired: AtomicBool::new(false),
            head_start,
            total_micros: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            times: Histogram::default(),
            errors: Mutex::default(),
            throttle: Throttle::default(),
        }
    }

    fn other() -> Self {
        let nothing = Fingerprint::of(b"");
        Self {
            id: "other".into(),
            ..Self::new(nothing, 0)
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Counts a command. It allocates only if the command failed, or took longer than any before.
    pub(crate) fn record(&self, command: &Command<'_>) {
        self.times.record(command.duration);
        let micros = u64::try_from(command.duration.as_micros()).unwrap_or(u64::MAX);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
        if command.rows > 0 {
            self.rows.fetch_add(command.rows, Ordering::Relaxed);
        }
        if let Some(sqlstate) = command.sqlstate {
            add(&mut self.lock_errors(), sqlstate, 1);
        }
    }

    fn weight(&self) -> u64 {
        let total = self.total_micros.load(Ordering::Relaxed);
        self.head_start.saturating_add(total)
    }

    fn absorb(&self, other: &Entry) {
        self.times.add(&other.times);
        let total = other.total_micros.load(Ordering::Relaxed);
        self.total_micros.fetch_add(total, Ordering::Relaxed);
        let rows = other.rows.load(Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
        let mut errors = self.lock_errors();
        for (sqlstate, count) in &*other.lock_errors() {
            add(&mut errors, sqlstate, *count);
        }
    }

    fn stats(&self, pool: &Arc<str>) -> StatementStats {
        let mut errors = self.lock_errors().clone();
        errors.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let times = self.times.quantiles();
        StatementStats {
            pool: Arc::clone(pool),
            fingerprint: Arc::clone(&self.id),
            text: Arc::clone(&self.fingerprint.text),
            summary: Arc::clone(&self.fingerprint.summary),
            count: times.count,
            errors,
            rows: self.rows.load(Ordering::Relaxed),
            total: Duration::from_micros(self.total_micros.load(Ordering::Relaxed)),
            times,
        }
    }

    fn lock_errors(&self) -> std::sync::MutexGuard<'_, Vec<(SqlState, u64)>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server has some hundred codes, and one statement fails with only a few of them.
fn add(errors: &mut Vec<(SqlState, u64)>, sqlstate: &SqlState, more: u64) {
    if let Some((_, count)) = errors.iter_mut().find(|(known, _)| known == sqlstate) {
        *count += more;
    } else if errors.len() < MAX_CODES {
        errors.push((sqlstate.clone(), more));
    }
}

/// How many fingerprints a pool counts separately. Each takes 2 to 20 kB.
const MAX_FINGERPRINTS: usize = 200;

/// How many codes are counted separately for a fingerprint. A function can raise any code.
const MAX_CODES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use db_wire::Note;

    fn command<'c>(millis: u64, sqlstate: Option<&'c SqlState>, note: &'c Note) -> Command<'c> {
        let duration = Duration::from_millis(millis);
        Command {
            sql: b"select 1",
            note,
            duration,
            executing: duration,
            rows: 2,
            sqlstate,
            in_transaction: false,
        }
    }

    fn record(table: &StatementTable, sql: &str, millis: u64) {
        let fingerprint = Fingerprint::of(sql.as_bytes());
        let note = Note::default();
        table
            .entry(&fingerprint)
            .record(&command(millis, None, &note));
    }

    /// req 4.33: counts, rows, errors by code, and exact quantiles.
    #[test]
    fn what_a_statement_cost_is_counted() {
        let table = StatementTable::new("p".into());
        for _ in 0..98 {
            record(&table, "select 1", 1);
        }
        let (note, entry) = (Note::default(), table.entry(&Fingerprint::of(b"select 2")));
        let canceled = Some(&SqlState::QUERY_CANCELED);
        entry.record(&command(1_000, canceled, &note));
        entry.record(&command(1_000, canceled, &note));
        let stats = table.stats();
        let [stats] = stats.as_slice() else {
            panic!("{stats:?}")
        };
        assert_eq!(
            (&*stats.text, stats.count, stats.rows),
            ("select ?", 100, 200)
        );
        assert_eq!(stats.errors, [(SqlState::QUERY_CANCELED, 2)]);
        assert_eq!(stats.total, Duration::from_millis(2_098));
        let close = |seen: Duration, wanted: u64| {
            seen.abs_diff(Duration::from_millis(wanted)) <= Duration::from_millis(wanted) / 50
        };
        assert!(
            close(stats.times.p50, 1) && close(stats.times.p99, 1_000),
            "{stats:?}"
        );
    }

    /// Only a limited number of statements is counted separately, however many new ones come. The
    /// expensive ones are among them, and nothing is lost.
    #[test]
    fn the_table_is_bounded_and_keeps_what_costs_most() {
        let table = StatementTable::new("p".into());
        record(&table, "select dear", 10_000);
        for n in 0..10 * MAX_FINGERPRINTS {
            record(&table, &format!("select a{n}"), 1);
        }
        let stats = table.stats();
        assert_eq!(stats.len(), MAX_FINGERPRINTS + 1);
        assert_eq!(&*stats[0].text, "select dear");
        let other = stats.iter().find(|stats| &*stats.fingerprint == "other");
        assert!(other.is_some_and(|other| other.text.is_empty() && other.rows > 0));
        let count: u64 = stats.iter().map(|stats| stats.count).sum();
        assert_eq!(count, 10 * MAX_FINGERPRINTS as u64 + 1);
    }

    /// Two expensive statements that come late stay in the table, although each is cheaper than the
    /// others at first.
    #[test]
    fn what_becomes_expensive_finds_its_place() {
        let table = StatementTable::new("p".into());
        for n in 0..MAX_FINGERPRINTS {
            record(&table, &format!("select a{n}"), 100);
        }
        for _ in 0..500 {
            record(&table, "select late", 1);
            record(&table, "select later", 1);
        }
        let stats = table.stats();
        for late in ["select late", "select later"] {
            let kept = stats.iter().find(|stats| &*stats.text == late);
            assert!(
                kept.is_some_and(|kept| kept.count > 400),
                "{late}: {kept:?}"
            );
        }
    }

    #[test]
    fn a_reset_begins_anew_and_the_keeper_of_an_entry_notices() {
        let table = StatementTable::new("p".into());
        let kept = table.entry(&Fingerprint::of(b"select 1"));
        record(&table, "select 1", 1);
        assert!(!kept.is_retired());
        table.reset();
        assert!(kept.is_retired() && table.stats().is_empty());
        record(&table, "select 1", 1);
        assert_eq!(table.stats()[0].count, 1);
    }
}
