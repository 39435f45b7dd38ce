//! Handles every command that has ended on the wire: its statistics, the slow-query log, its span.

use std::sync::{Arc, PoisonError};

use crate::fingerprint::Fingerprint;
use crate::profile::PoolProfile;
use crate::registry::Registry;
use crate::telemetry::observer::Activity;
use crate::telemetry::slow_query;
use crate::telemetry::statement_stats::Entry;
use crate::totals::Totals;
use db_wire::{Command, Watcher};

/// Receives every command of one connection. It runs between two reads, on the task that drives the
/// connection.
struct Watch {
    registry: Arc<Registry>,
    activity: Arc<Activity>,
    counts: bool,
}

/// Makes the watcher that a profile asks for.
pub(crate) fn watcher(
    profile: &PoolProfile,
    registry: &Arc<Registry>,
    activity: &Arc<Activity>,
) -> Watcher {
    let watch = Watch {
        registry: Arc::clone(registry),
        activity: Arc::clone(activity),
        counts: profile.statement_statistics,
    };
    Box::new(move |command| watch.saw(command))
}

impl Watch {
    fn saw(&self, command: &Command<'_>) {
        let slow = self.registry.settings.slow_query();
        let is_slow = slow.is_some_and(|slow| command.duration >= slow);
        let spans = &self.activity.spans;
        if !self.counts && !is_slow && spans.is_empty() {
            return;
        }
        let entry = self.entry(command);
        if self.counts {
            entry.record(command);
            self.registry.times.ran(command.duration, command.sqlstate);
        }
        let (span, values) = spans.completed(command, &entry.fingerprint);
        if is_slow {
            Totals::count(&self.registry.totals.slow_queries);
            let holder = self.activity.holder();
            // The event is inside the span, so that each leads to the other.
            let values = values.as_ref();
            span.in_scope(|| {
                slow_query::log(&self.registry.name, command, &entry, &holder, values);
            });
        }
    }

    /// The entry that is stored with the text. If it has left the table, this looks up its
    /// successor, without computing the fingerprint again.
    fn entry(&self, command: &Command<'_>) -> Arc<Entry> {
        let mut note = command.note.lock().unwrap_or_else(PoisonError::into_inner);
        let statements = &self.registry.statements;
        let kept = note
            .as_ref()
            .and_then(|kept| Arc::clone(kept).downcast::<Entry>().ok());
        let entry = match kept {
            Some(entry) if !entry.is_retired() => return entry,
            Some(entry) => statements.entry(&entry.fingerprint),
            None => statements.entry(&Fingerprint::of(command.sql)),
        };
        *note = Some(Arc::<Entry>::clone(&entry));
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Generations;
    use crate::telemetry::statement_span::StatementSpans;
    use db_config::{Endpoint, Environment, PooledUrl};
    use db_wire::Note;
    use std::time::Duration;

    fn registry() -> Arc<Registry> {
        let url = PooledUrl::parse("postgres://u:p@localhost/d").unwrap();
        let generations = Generations::new(Endpoint::from(url));
        let mut profile = PoolProfile::of(&Environment::Test);
        profile.name = "p".into();
        Arc::new(Registry::new(&profile, generations, None))
    }

    fn watched(registry: &Arc<Registry>) -> Watcher {
        let endpoint = registry.generations.current().endpoint.clone();
        let spans = StatementSpans::new("p".into(), &endpoint, false);
        let profile = PoolProfile::of(&Environment::Test);
        watcher(&profile, registry, &Arc::new(Activity::new(spans)))
    }

    fn ran<'c>(sql: &'c str, note: &'c Note) -> Command<'c> {
        let duration = Duration::from_millis(1);
        Command {
            sql: sql.as_bytes(),
            note,
            duration,
            executing: duration,
            rows: 1,
            sqlstate: None,
            in_transaction: false,
        }
    }

    /// A text is read only once, even after a reset: the fingerprint stored with it is enough.
    #[tokio::test]
    async fn a_text_is_read_once() {
        let registry = registry();
        let watcher = watched(&registry);
        let note = Note::default();
        watcher(&ran("select 1", &note));
        watcher(&ran("who reads this has read it twice", &note));
        let stats = registry.statements.stats();
        assert_eq!((stats.len(), stats[0].count), (1, 2));
        registry.statements.reset();
        watcher(&ran("who reads this has read it twice", &note));
        let stats = registry.statements.stats();
        assert_eq!((&*stats[0].text, stats[0].count), ("select ?", 1));
    }

    /// case R63: ten thousand lists of values give few fingerprints.
    #[tokio::test]
    async fn ten_thousand_lists_are_few_fingerprints() {
        let registry = registry();
        let watcher = watched(&registry);
        for nth in 0..10_000 {
            let list: Vec<_> = (0..=nth % 40)
                .map(|n| (n * 10_000 + nth).to_string())
                .collect();
            let sql = format!("select * from t where id in ({})", list.join(", "));
            watcher(&ran(&sql, &Note::default()));
        }
        let stats = registry.statements.stats();
        assert_eq!((stats.len(), stats[0].count), (1, 10_000));
    }

    /// Two connections count into the same entry.
    #[tokio::test]
    async fn connections_of_a_pool_share_their_counts() {
        let registry = registry();
        for sql in ["select 1", "SELECT $1"] {
            watched(&registry)(&ran(sql, &Note::default()));
        }
        assert_eq!(registry.statements.stats()[0].count, 2);
    }
}
