//! What the migrator knows beyond diesel's history: the checksum of each file that it has applied.
//!
//! diesel's table stays as diesel makes it, so the checksums have a table beside it. A row counts only
//! together with the row of the history that was written in the same transaction: diesel's own tool may have
//! reverted the migration and applied it again since.

use std::collections::BTreeMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::migrate::error::MigrateError;
use crate::migrate::history::History;

/// The table, and what the role may do with it.
pub(super) struct SideTable {
    /// With its schema, for SQL.
    table: String,
    history: String,
    exists: bool,
    readable: bool,
    writable: bool,
    /// Whether the record of each migration creates it first, because its schema is yet to be created.
    with_record: bool,
}

impl SideTable {
    pub(super) async fn find(client: &Client, history: &History) -> Result<Self, MigrateError> {
        let table = history.beside(TABLE);
        let failed = MigrateError::bookkeeping(format!("find {table}"));
        let row = client.query_one(FIND, &[&table]).await;
        let found = row.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
        let (exists, readable, writable) = found.map_err(failed)?;
        Ok(Self {
            table,
            history: history.table.clone(),
            exists,
            readable,
            writable,
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
            self.writable = true;
            return Ok(());
        }
        if !self.exists {
            match client.batch_execute(&self.definition()).await {
                Ok(()) => {
                    (self.exists, self.readable, self.writable) = (true, true, true);
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

    /// The checksums of applied versions, as far as they are known.
    pub(super) async fn read(
        &self,
        client: &Client,
    ) -> Result<BTreeMap<String, String>, MigrateError> {
        if !self.readable {
            return Ok(BTreeMap::new());
        }
        let Self { table, history, .. } = self;
        let sql = format!(
            "SELECT s.version::text, s.sha256_up::text FROM {table} s \
             JOIN {history} h ON h.version = s.version AND h.run_on = s.run_on"
        );
        let failed = MigrateError::bookkeeping(format!("read {table}"));
        let rows = client.query(&sql, &[]).await;
        rows.and_then(|rows| {
            let rows = rows.iter();
            rows.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
                .collect::<Result<_, Error>>()
        })
        .map_err(failed)
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
             noted_by = DEFAULT, noted_at = DEFAULT"
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
             run_on TIMESTAMP NOT NULL, sha256_up TEXT NOT NULL, tool_version TEXT NOT NULL, \
             noted_by TEXT NOT NULL DEFAULT session_user, \
             noted_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp())",
            self.table
        )
    }
}

const TABLE: &str = "__dbctl_migrations";

const TOOL: &str = env!("CARGO_PKG_VERSION");

const FIND: &str = "SELECT t.oid IS NOT NULL, coalesce(has_table_privilege(t.oid, 'SELECT'), false), \
     coalesce(has_table_privilege(t.oid, 'SELECT') AND has_table_privilege(t.oid, 'INSERT') \
     AND has_table_privilege(t.oid, 'UPDATE') AND has_table_privilege(t.oid, 'DELETE'), false) \
     FROM (SELECT to_regclass($1::text)::oid) AS t(oid)";
