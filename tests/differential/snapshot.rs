//! The settings of a session, and everything left in it.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio_postgres::SimpleQueryMessage;

use crate::answer::Rows;

/// Settings and leftovers by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Snapshot(BTreeMap<String, String>);

impl Snapshot {
    pub(crate) fn of(rows: &Rows) -> Self {
        Self(rows.pairs().collect())
    }

    /// The snapshot that could not be taken.
    pub(crate) fn none(why: String) -> Self {
        Self(BTreeMap::from([("no snapshot".to_owned(), why)]))
    }

    pub(crate) fn of_messages(messages: &[SimpleQueryMessage]) -> Self {
        let pairs = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let text = |place| row.get(place).unwrap_or_default().to_owned();
                Some((text(0), text(1)))
            }
            _ => None,
        });
        Self(pairs.collect())
    }

    /// What differs, as `name: one / other`.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let names = self.0.keys().chain(other.0.keys());
        let names: std::collections::BTreeSet<_> = names.collect();
        let value =
            |of: &Self, name: &str| of.0.get(name).cloned().unwrap_or_else(|| "-".to_owned());
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != other.0.get(*name))
            .map(|name| format!("{name}: {} / {}", value(self, name), value(other, name)))
            .collect()
    }
}

/// Everything that a session can set, its user, and everything that lives as long as the session. Only prepared
/// statements made with PREPARE count as leftovers. Settings of PL/pgSQL exist once it has been used, and an empty
/// schema stays after a temporary table.
pub(crate) const SNAPSHOT: &str = "\
    select name::text, setting::text from pg_catalog.pg_settings where context in ('user', 'superuser') \
    and name !~ '^plpgsql' \
    union all select 'session_user', session_user::text \
    union all select 'current_user', current_user::text \
    union all select 'schemas', pg_catalog.current_schemas(false)::text \
    union all select 'prepared by SQL', pg_catalog.count(*)::text from pg_catalog.pg_prepared_statements where from_sql \
    union all select 'cursors', pg_catalog.count(*)::text from pg_catalog.pg_cursors where name <> '' and is_holdable \
    union all select 'listens', pg_catalog.count(*)::text from pg_catalog.pg_listening_channels() \
    union all select 'session locks', pg_catalog.count(*)::text from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid() \
    union all select 'temporary', pg_catalog.count(*)::text from pg_catalog.pg_class where relnamespace = pg_catalog.pg_my_temp_schema()";
