//! Whether the schema fits a service.

use std::collections::{BTreeMap, BTreeSet};

use diesel::result::QueryResult;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel::{OptionalExtension, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;

use crate::migrate::checksum::checksum;
use crate::migrate::source::Migration;

/// Which of a service's migrations the schema lacks, and which others it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SchemaState {
    /// `<version>_<name>` of each migration of the service that is not applied.
    pub pending: Vec<String>,
    /// The version of each applied migration that the service does not know, as after a rollback of the
    /// service.
    pub ahead: Vec<String>,
    /// `<version>_<name>` of each applied migration whose file was edited since.
    pub drifted: Vec<String>,
}

impl SchemaState {
    /// Whether the service can work: nothing is pending and nothing was edited. A newer schema is fine,
    /// because an older service has to work with it during a deploy and after a rollback.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.pending.is_empty() && self.drifted.is_empty()
    }

    /// Compares `migrations` with the record of the server of `conn`. It needs only SELECT on the two
    /// tables; without the right to read the checksums, it notices no edit.
    pub(crate) async fn read(
        conn: &mut AsyncPgConnection,
        migrations: &[Migration],
    ) -> QueryResult<Self> {
        let mut applied = BTreeMap::new();
        let found = diesel::sql_query(FIND).get_result::<Tables>(conn).await;
        if let Some(tables) = found.optional()? {
            let sql = if tables.readable {
                WITH_CHECKSUMS
            } else {
                WITHOUT_CHECKSUMS
            };
            let sql = sql
                .replace("{history}", &tables.history)
                .replace("{notes}", &tables.notes);
            let rows = diesel::sql_query(sql).load::<Applied>(conn).await?;
            applied.extend(rows.into_iter().map(|row| (row.version, row.checksum)));
        }
        Ok(Self::compare(migrations, &applied))
    }

    fn compare(migrations: &[Migration], applied: &BTreeMap<String, Option<String>>) -> Self {
        let mut state = Self::default();
        for migration in migrations {
            match applied.get(&migration.version) {
                None => state.pending.push(migration.title()),
                Some(Some(sum)) if *sum != checksum(&migration.up) => {
                    state.drifted.push(migration.title());
                }
                Some(_) => {}
            }
        }
        let known: BTreeSet<&str> = migrations.iter().map(|m| m.version.as_str()).collect();
        let beyond = applied
            .keys()
            .filter(|version| !known.contains(version.as_str()));
        state.ahead.extend(beyond.cloned());
        state
    }
}

/// The two tables, quoted, and whether the second may be read.
#[derive(QueryableByName)]
struct Tables {
    #[diesel(sql_type = Text)]
    history: String,
    #[diesel(sql_type = Text)]
    notes: String,
    #[diesel(sql_type = Bool)]
    readable: bool,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Nullable<Text>)]
    checksum: Option<String>,
}

/// Along the `search_path`, where the migrator has created them.
const FIND: &str = "SELECT format('%I.%I', n.nspname, c.relname) AS history, \
     format('%I.%I', n.nspname, '__dbctl_migrations') AS notes, \
     coalesce(has_table_privilege(s.oid, 'SELECT'), false) AS readable \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_catalog.pg_class s ON s.relnamespace = n.oid AND s.relname = '__dbctl_migrations' \
     WHERE c.oid = to_regclass('__diesel_schema_migrations')";

const WITH_CHECKSUMS: &str = "SELECT h.version::text AS version, s.sha256_up::text AS checksum \
     FROM {history} h LEFT JOIN {notes} s ON s.version = h.version AND s.run_on = h.run_on";

const WITHOUT_CHECKSUMS: &str =
    "SELECT version::text AS version, NULL::text AS checksum FROM {history}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::source::{EmbeddedMigration, MigrationSource};

    #[test]
    fn a_schema_that_is_ahead_is_ready_and_one_that_lacks_or_differs_is_not() {
        let source = ["1_a", "2_b"].map(|name| EmbeddedMigration::new(name, "select 1"));
        let migrations = MigrationSource::embedded(source).read().unwrap();
        let state = |applied: &[(&str, Option<&str>)]| {
            let applied = applied
                .iter()
                .map(|(v, sum)| ((*v).to_owned(), sum.map(str::to_owned)));
            SchemaState::compare(&migrations, &applied.collect())
        };
        let sum = checksum("select 1");
        let ahead = state(&[("1", Some(&sum)), ("2", None), ("3", None)]);
        assert!(ahead.is_ready());
        assert_eq!(ahead.ahead, ["3"]);
        assert_eq!(state(&[("1", None)]).pending, ["2_b"]);
        let drifted = state(&[("1", Some("another")), ("2", None)]);
        assert_eq!(drifted.drifted, ["1_a"]);
        assert!(!drifted.is_ready() && !state(&[]).is_ready());
    }
}
