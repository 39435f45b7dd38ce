//! The migrator's own table beside diesel's history: it has the checksum of each applied file.
//!
//! diesel's table stays as diesel creates it, so the checksums have their own table. A row counts only together
//! with the row of the history that was written in the same transaction: diesel's own tool may have reverted the
//! migration and applied it again since.
//!
//! A migration that runs outside a transaction has a row without `run_on` while it is unfinished, which says
//! how many of its statements have run.
//!
//! The columns of `ADDED` are for people who read the table: who ran a migration, from where, since when, and
//! with which result. The migrator adds them to a table that lacks them, and works without them if the role may
//! not.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::migrate::error::MigrateError;
use crate::migrate::history::History;
use crate::migrate::notes::{Noted, Notes, Progress};

/// The table, and the role's rights on it.
pub(super) struct SideTable {
    /// With its schema, for SQL.
    table: String,
    history: String,
    exists: bool,
    readable: bool,
    writable: bool,
    /// Whether it has all columns of `ADDED`.
    complete: bool,
    /// Whether the record of each migration creates the table first, because a migration still has to create its
    /// schema.
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
                row.try_get::<_, Vec<String>>(3)?,
            ))
        });
        let (exists, readable, writable, columns) = found.map_err(failed)?;
        let has = |name: &str| columns.iter().any(|column| column == name);
        Ok(Self {
            table,
            history: history.table.clone(),
            exists,
            readable,
            writable,
            complete: ADDED.iter().all(|(name, _)| has(name)),
            with_record: false,
        })
    }

    /// Creates the table if it is missing, and completes a table of an older version. A role without the right
    /// works without checksums, or without the columns.
    pub(super) async fn create(
        &mut self,
        client: &Client,
        history: &History,
    ) -> Result<(), MigrateError> {
        if !self.exists && history.lacks_schema() {
            self.with_record = true;
            (self.writable, self.complete) = (true, true);
            return Ok(());
        }
        if !self.exists {
            match client.batch_execute(&self.definition()).await {
                Ok(()) => {
                    (self.exists, self.readable) = (true, true);
                    (self.writable, self.complete) = (true, true);
                }
                Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {}
                Err(error) => {
                    let failed = MigrateError::bookkeeping(format!("create {}", self.table));
                    return Err(failed(error));
                }
            }
        } else if self.writable && !self.complete {
            self.complete(client).await?;
        }
        if !self.writable {
            tracing::warn!(target: "app_db::migrate",
                table = self.table,
                "the role may not write the checksums of migrations, so an edit of an applied one is not noticed"
            );
        }
        Ok(())
    }

    /// Adds the columns that an older version did not create. Only the owner of the table may, and another
    /// session, such as a dump, may be reading the table: then a later run adds them.
    async fn complete(&mut self, client: &Client) -> Result<(), MigrateError> {
        let add = ADDED.map(|(name, kind)| format!("ADD COLUMN IF NOT EXISTS {name} {kind}"));
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = '500ms'; ALTER TABLE {} {}; COMMIT",
            self.table,
            add.join(", ")
        );
        let Err(error) = client.batch_execute(&sql).await else {
            self.complete = true;
            return Ok(());
        };
        tracing::info!(target: "app_db::migrate", table = self.table, %error, "the table keeps its older columns for now");
        let failed = MigrateError::bookkeeping(format!("leave {} as it is", self.table));
        client.batch_execute("ROLLBACK").await.map_err(failed)
    }

    /// The definition of the table, if it is missing. From then on its notes are written as if it existed.
    pub(super) fn missing_definition(&mut self, history: &History) -> Option<String> {
        if self.exists {
            return None;
        }
        (self.writable, self.complete) = (true, true);
        self.with_record = history.lacks_schema();
        (!self.with_record).then(|| self.definition())
    }

    pub(super) async fn read(&self, client: &Client) -> Result<Notes, MigrateError> {
        if !self.readable {
            return Ok(Notes::default());
        }
        let Self { table, history, .. } = self;
        let added = if self.complete {
            "s.duration_ms, s.error_sqlstate, s.state = 'failed'"
        } else {
            "NULL::bigint, NULL::text, false"
        };
        let sql = format!(
            "SELECT s.version::text, s.sha256_up::text, s.statements_done, h.version IS NOT NULL, \
             to_char(s.noted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), {added} \
             FROM {table} s LEFT JOIN {history} h ON h.version = s.version \
             WHERE h.run_on = s.run_on OR (h.version IS NULL AND s.run_on IS NULL)"
        );
        let failed = MigrateError::bookkeeping(format!("read {table}"));
        let rows = client.query(&sql, &[]).await;
        rows.and_then(|rows| rows.iter().try_fold(Notes::default(), Notes::with))
            .map_err(failed)
    }

    /// The SQL that notes that an unfinished migration begins, or continues after the statements that have run.
    pub(super) fn begin(&self, noted: Noted<'_>, progress: Option<&Progress>) -> Option<String> {
        let started = self.columns(", started_at = excluded.started_at");
        self.unfinished(noted, progress, started)
    }

    /// The SQL that notes how far an unfinished migration has come.
    pub(super) fn progress(&self, noted: Noted<'_>, progress: &Progress) -> Option<String> {
        self.unfinished(noted, Some(progress), "")
    }

    /// Without `progress`, the row does not say how far the migration has come.
    fn unfinished(
        &self,
        noted: Noted<'_>,
        progress: Option<&Progress>,
        further: &str,
    ) -> Option<String> {
        let table = &self.table;
        let done = progress.map_or_else(|| "NULL".to_owned(), |progress| progress.done.to_string());
        let checksum = progress.map_or(noted.checksum, |progress| &progress.checksum);
        let (columns, update) = (self.columns(COLUMNS), self.columns(UPDATES));
        let values = self.values(noted, "running");
        let started = self.columns(", started_at");
        let now = self.columns(", clock_timestamp()");
        (self.writable && self.exists).then(|| {
            format!(
                "INSERT INTO {table} (version, sha256_up, tool_version, statements_done{columns}{started}) \
                 VALUES ('{}', '{checksum}', '{TOOL}', {done}{values}{now}) \
                 ON CONFLICT (version) DO UPDATE SET run_on = NULL, \
                 sha256_up = excluded.sha256_up, tool_version = excluded.tool_version, \
                 statements_done = excluded.statements_done, \
                 noted_by = DEFAULT, noted_at = DEFAULT{update}{further}",
                noted.version
            )
        })
    }

    /// The SQL that notes a failure. It does nothing for an applied migration, such as one whose revert failed.
    pub(super) fn failed(
        &self,
        noted: Noted<'_>,
        sqlstate: Option<&SqlState>,
        elapsed: Duration,
    ) -> Option<String> {
        let Self { table, history, .. } = self;
        let code = sqlstate.map_or_else(|| "NULL".to_owned(), |code| literal(code.code()));
        let began = began(elapsed, "statement_timestamp()");
        (self.writable && self.exists && self.complete).then(|| {
            format!(
                "INSERT INTO {table} AS t \
                 (version, sha256_up, tool_version{COLUMNS}, error_sqlstate, started_at) \
                 SELECT '{}', '{}', '{TOOL}'{}, {code}, {began} \
                 WHERE NOT EXISTS (SELECT FROM {history} WHERE version = '{}') \
                 ON CONFLICT (version) DO UPDATE SET run_on = NULL, sha256_up = CASE \
                 WHEN t.statements_done IS NULL THEN excluded.sha256_up ELSE t.sha256_up END, \
                 tool_version = excluded.tool_version, noted_by = DEFAULT, noted_at = DEFAULT, \
                 name = excluded.name, state = excluded.state, client_host = excluded.client_host, \
                 error_sqlstate = excluded.error_sqlstate, started_at = excluded.started_at, \
                 duration_ms = NULL",
                noted.version,
                noted.checksum,
                self.values(noted, "failed"),
                noted.version,
            )
        })
    }

    /// The SQL that notes the checksum of a migration in the transaction of its record, and that it is `applied`
    /// or `baselined`.
    pub(super) fn note(&self, noted: Noted<'_>, state: &str) -> String {
        let create = if self.with_record {
            format!("{}; ", self.definition())
        } else {
            String::new()
        };
        let Self { table, history, .. } = self;
        if !self.writable {
            return String::new();
        }
        let (columns, updates) = (self.columns(COLUMNS), self.columns(UPDATES));
        let Noted {
            version, checksum, ..
        } = noted;
        format!(
            "{create}INSERT INTO {table} (version, run_on, sha256_up, tool_version{columns}) \
             SELECT version, run_on, '{checksum}', '{TOOL}'{} FROM {history} \
             WHERE version = '{version}' \
             ON CONFLICT (version) DO UPDATE SET run_on = excluded.run_on, \
             sha256_up = excluded.sha256_up, tool_version = excluded.tool_version, \
             statements_done = NULL, noted_by = DEFAULT, noted_at = DEFAULT{updates}",
            self.values(noted, state)
        )
    }

    /// The SQL that notes how long `version` took, after its [`note`](Self::note).
    pub(super) fn took(&self, version: &str, elapsed: Duration) -> String {
        if !(self.writable && self.complete) {
            return String::new();
        }
        let milliseconds = elapsed.as_millis();
        format!(
            "UPDATE {} SET duration_ms = {milliseconds}, started_at = {} WHERE version = '{version}'",
            self.table,
            began(elapsed, "noted_at")
        )
    }

    /// The SQL that notes that `version` is reverted. Its row stays, but no longer counts.
    pub(super) fn reverted(&self, version: &str) -> String {
        if !self.complete {
            return self.forget(version);
        }
        if !(self.writable && self.exists) {
            return String::new();
        }
        format!(
            "UPDATE {} SET state = 'reverted', statements_done = NULL, error_sqlstate = NULL, \
             client_host = {HOST}, tool_version = '{TOOL}', noted_by = DEFAULT, noted_at = DEFAULT \
             WHERE version = '{version}'",
            self.table
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
        let added = ADDED.map(|(name, kind)| format!(", {name} {kind}"));
        format!(
            "CREATE TABLE IF NOT EXISTS {} (version VARCHAR(50) PRIMARY KEY, \
             run_on TIMESTAMP, sha256_up TEXT NOT NULL, statements_done INT, \
             tool_version TEXT NOT NULL, \
             noted_by TEXT NOT NULL DEFAULT session_user, \
             noted_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(){})",
            self.table,
            added.concat()
        )
    }

    /// `part`, which concerns the added columns, or nothing if the table lacks them.
    fn columns<'a>(&self, part: &'a str) -> &'a str {
        if self.complete { part } else { "" }
    }

    /// The values of `COLUMNS`.
    fn values(&self, noted: Noted<'_>, state: &str) -> String {
        if self.complete {
            format!(", {}, '{state}', {HOST}", literal(noted.name))
        } else {
            String::new()
        }
    }
}

/// The SQL for the begin of work that took `elapsed` until `ended`, both by the server's clock. The result is
/// not after `noted_at`.
fn began(elapsed: Duration, ended: &str) -> String {
    let milliseconds = elapsed.as_millis();
    format!("{ended} - {milliseconds} * interval '1 millisecond'")
}

/// A string literal that does not depend on `standard_conforming_strings`.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

const TABLE: &str = "__dbctl_migrations";

const TOOL: &str = env!("CARGO_PKG_VERSION");

/// The columns that the first version of the table did not have.
const ADDED: [(&str, &str); 6] = [
    ("duration_ms", "BIGINT"),
    ("name", "TEXT"),
    ("state", "TEXT"),
    ("client_host", "TEXT"),
    ("started_at", "TIMESTAMPTZ"),
    ("error_sqlstate", "TEXT"),
];

/// The added columns that every note sets.
const COLUMNS: &str = ", name, state, client_host";

const UPDATES: &str = ", name = excluded.name, state = excluded.state, \
     client_host = excluded.client_host, error_sqlstate = NULL";

/// The client's address as the server sees it. NULL over a Unix socket.
const HOST: &str = "host(inet_client_addr())";

const FIND: &str = "SELECT t.oid IS NOT NULL, coalesce(has_table_privilege(t.oid, 'SELECT'), false), \
     coalesce(has_table_privilege(t.oid, 'SELECT') AND has_table_privilege(t.oid, 'INSERT') \
     AND has_table_privilege(t.oid, 'UPDATE') AND has_table_privilege(t.oid, 'DELETE'), false), \
     ARRAY (SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid \
     AND a.attnum > 0 AND NOT a.attisdropped) \
     FROM (SELECT to_regclass($1::text)::oid) AS t(oid)";
