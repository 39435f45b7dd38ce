//! What the migrator knows beyond diesel's history: the checksum of each file that it has applied.
//!
//! diesel's table stays as diesel makes it, so the checksums have a table beside it. A row counts only
//! together with the row of the history that was written in the same transaction: diesel's own tool may have
//! reverted the migration and applied it again since.
//!
//! A migration that runs outside a transaction has a row without `run_on` while it is unfinished, which says
//! how many of its statements have run.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use crate::migrate::error::MigrateError;
use crate::migrate::history::History;

/// What the table says.
#[derive(Default)]
pub(super) struct Notes {
    /// The checksums of applied versions, as far as they are known.
    pub(super) checksums: BTreeMap<String, String>,
    /// How long applied versions took, as far as it is known.
    pub(super) durations: BTreeMap<String, Duration>,
    /// The versions that are unfinished.
    pub(super) unfinished: BTreeMap<String, Progress>,
}

/// How far an unfinished migration has come.
pub(super) struct Progress {
    /// How many of its statements have run.
    pub(super) done: usize,
    /// The checksum of the file up to the end of the last one.
    pub(super) checksum: String,
}

/// The table, and what the role may do with it.
pub(super) struct SideTable {
    /// With its schema, for SQL.
    table: String,
    history: String,
    exists: bool,
    readable: bool,
    writable: bool,
    /// Whether it has a place for how long a migration took.
    times: bool,
    /// Whether the record of each migration creates it first, because its schema is yet to be created.
    with_record: bool,
}

impl SideTable {
    pub(super) async fn find(client: &Client, history: &History) -> Result<Self, MigrateError> {
        let table = history.beside(TABLE);
        let failed = MigrateError::bookkeeping(format!("find {table}"));
        let row = client.query_one(FIND, &[&table]).await;
        let found = row.and_then(|row| {
            Ok((
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
            ))
        });
        let (exists, readable, writable, times) = found.map_err(failed)?;
        Ok(Self {
            table,
            history: history.table.clone(),
            exists,
            readable,
            writable,
            times,
            with_record: false,
        })
    }

    /// Creates the table if it is not there. A role that may not do so works without checksums.
    pub(super) async fn create(
        &mut self,
        client: &Client,
        history: &History,
    ) -> Result<(), MigrateError> {
        if !self.exists && history.lacks_schema() {
            self.with_record = true;
            (self.writable, self.times) = (true, true);
            return Ok(());
        }
        if !self.exists {
            match client.batch_execute(&self.definition()).await {
                Ok(()) => {
                    (self.exists, self.readable) = (true, true);
                    (self.writable, self.times) = (true, true);
                }
                Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {}
                Err(error) => {
                    let failed = MigrateError::bookkeeping(format!("create {}", self.table));
                    return Err(failed(error));
                }
            }
        }
        if !self.writable {
            tracing::warn!(target: "app_db::migrate",
                table = self.table,
                "the role may not write the checksums of migrations, so an edit of an applied one is not noticed"
            );
        }
        Ok(())
    }

    /// The definition of the table, if it is not there. From then on its notes are written as if it were.
    pub(super) fn missing_definition(&mut self, history: &History) -> Option<String> {
        if self.exists {
            return None;
        }
        (self.writable, self.times) = (true, true);
        self.with_record = history.lacks_schema();
        (!self.with_record).then(|| self.definition())
    }

    pub(super) async fn read(&self, client: &Client) -> Result<Notes, MigrateError> {
        if !self.readable {
            return Ok(Notes::default());
        }
        let Self { table, history, .. } = self;
        let took = if self.times {
            "s.duration_ms"
        } else {
            "NULL::bigint"
        };
        let sql = format!(
            "SELECT s.version::text, s.sha256_up::text, s.statements_done, {took} FROM {table} s \
             LEFT JOIN {history} h ON h.version = s.version \
             WHERE h.run_on = s.run_on OR (h.version IS NULL AND s.run_on IS NULL)"
        );
        let failed = MigrateError::bookkeeping(format!("read {table}"));
        let rows = client.query(&sql, &[]).await;
        rows.and_then(|rows| rows.iter().try_fold(Notes::default(), Notes::with))
            .map_err(failed)
    }

    /// The SQL that notes how far an unfinished migration has come.
    pub(super) fn progress(&self, version: &str, progress: &Progress) -> Option<String> {
        let Progress { done, checksum } = progress;
        (self.writable && self.exists).then(|| {
            format!(
                "INSERT INTO {} (version, sha256_up, tool_version, statements_done) \
                 VALUES ('{version}', '{checksum}', '{TOOL}', {done}) \
                 ON CONFLICT (version) DO UPDATE SET run_on = NULL, \
                 sha256_up = excluded.sha256_up, tool_version = excluded.tool_version, \
                 statements_done = excluded.statements_done, \
                 noted_by = DEFAULT, noted_at = DEFAULT",
                self.table
            )
        })
    }

    /// The SQL that notes the checksum of `version` in the transaction of its record. Both are letters and
    /// digits.
    pub(super) fn note(&self, version: &str, checksum: &str) -> String {
        let create = if self.with_record {
            format!("{}; ", self.definition())
        } else {
            String::new()
        };
        let Self { table, history, .. } = self;
        if !self.writable {
            return String::new();
        }
        format!(
            "{create}INSERT INTO {table} (version, run_on, sha256_up, tool_version) \
             SELECT version, run_on, '{checksum}', '{TOOL}' FROM {history} \
             WHERE version = '{version}' \
             ON CONFLICT (version) DO UPDATE SET run_on = excluded.run_on, \
             sha256_up = excluded.sha256_up, tool_version = excluded.tool_version, \
             statements_done = NULL, noted_by = DEFAULT, noted_at = DEFAULT"
        )
    }

    /// The SQL that notes how long `version` took, behind its [`note`](Self::note).
    pub(super) fn took(&self, version: &str, elapsed: Duration) -> String {
        if !(self.writable && self.times) {
            return String::new();
        }
        format!(
            "UPDATE {} SET duration_ms = {} WHERE version = '{version}'",
            self.table,
            elapsed.as_millis()
        )
    }

    /// The SQL that forgets `version`.
    pub(super) fn forget(&self, version: &str) -> String {
        if self.writable && self.exists {
            format!("DELETE FROM {} WHERE version = '{version}'", self.table)
        } else {
            String::new()
        }
    }

    fn definition(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (version VARCHAR(50) PRIMARY KEY, \
             run_on TIMESTAMP, sha256_up TEXT NOT NULL, statements_done INT, duration_ms BIGINT, \
             tool_version TEXT NOT NULL, \
             noted_by TEXT NOT NULL DEFAULT session_user, \
             noted_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp())",
            self.table
        )
    }
}

impl Notes {
    fn with(mut self, row: &Row) -> Result<Self, Error> {
        let (version, checksum) = (row.try_get(0)?, row.try_get(1)?);
        match row.try_get::<_, Option<i32>>(2)? {
            None => {
                let took = row.try_get::<_, Option<i64>>(3)?;
                if let Some(took) = took.and_then(|took| u64::try_from(took).ok()) {
                    let version: &String = &version;
                    self.durations
                        .insert(version.clone(), Duration::from_millis(took));
                }
                self.checksums.insert(version, checksum);
            }
            Some(done) => {
                let done = usize::try_from(done).unwrap_or_default();
                self.unfinished.insert(version, Progress { done, checksum });
            }
        }
        Ok(self)
    }
}

const TABLE: &str = "__dbctl_migrations";

const TOOL: &str = env!("CARGO_PKG_VERSION");

const FIND: &str = "SELECT t.oid IS NOT NULL, coalesce(has_table_privilege(t.oid, 'SELECT'), false), \
     coalesce(has_table_privilege(t.oid, 'SELECT') AND has_table_privilege(t.oid, 'INSERT') \
     AND has_table_privilege(t.oid, 'UPDATE') AND has_table_privilege(t.oid, 'DELETE'), false), \
     EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid \
     AND a.attname = 'duration_ms' AND NOT a.attisdropped) \
     FROM (SELECT to_regclass($1::text)::oid) AS t(oid)";
