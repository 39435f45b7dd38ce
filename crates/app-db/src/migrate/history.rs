//! diesel's table of applied migrations, the single record of what has run.
//!
//! It is the table that `diesel migration run` keeps, with nothing added, so that each tool can follow the
//! other. SQL names it with its schema, because a migration may change `search_path`.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

use crate::migrate::error::MigrateError;

/// Where the table is, or will be.
pub(super) struct History {
    pub(super) database: String,
    pub(super) schema: String,
    table: String,
    exists: bool,
}

impl History {
    /// Finds the table along the `search_path`, or else the schema in which it would be created.
    pub(super) async fn find(client: &Client) -> Result<Self, MigrateError> {
        let row = client
            .query_one(
                "SELECT current_database()::text, \
                 coalesce(n.nspname, current_schema(), 'public')::text, c.oid IS NOT NULL \
                 FROM (SELECT to_regclass('__diesel_schema_migrations') AS oid) AS t \
                 LEFT JOIN pg_class c ON c.oid = t.oid \
                 LEFT JOIN pg_namespace n ON n.oid = c.relnamespace",
                &[],
            )
            .await;
        let found = row.and_then(|row| {
            let schema: String = row.try_get(1)?;
            let table = format!("\"{}\".{TABLE}", schema.replace('"', "\"\""));
            Ok(Self {
                database: row.try_get(0)?,
                schema,
                table,
                exists: row.try_get(2)?,
            })
        });
        found.map_err(MigrateError::bookkeeping("find __diesel_schema_migrations"))
    }

    /// Creates the table, if it is not there. Call it only with the lock: two sessions that create the
    /// table at the same time collide.
    pub(super) async fn create(&mut self, client: &Client) -> Result<(), MigrateError> {
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {} (version VARCHAR(50) PRIMARY KEY NOT NULL, \
             run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            self.table
        );
        // If the table exists, creating it is not tried: the role may be allowed to write the table
        // and not to create it.
        if !self.exists {
            let failed = MigrateError::bookkeeping("create __diesel_schema_migrations");
            client.batch_execute(&sql).await.map_err(failed)?;
            self.exists = true;
        }
        Ok(())
    }

    /// Applied versions with the time of each, in UTC.
    pub(super) async fn read(
        &self,
        client: &Client,
    ) -> Result<BTreeMap<String, String>, MigrateError> {
        if !self.exists {
            return Ok(BTreeMap::new());
        }
        let sql = format!(
            "SELECT version::text, to_char(run_on, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM {}",
            self.table
        );
        let failed = MigrateError::bookkeeping("read __diesel_schema_migrations");
        let rows = client.query(&sql, &[]).await.map_err(failed)?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, Error>>()
            .map_err(MigrateError::bookkeeping(
                "understand __diesel_schema_migrations",
            ))
    }

    /// The statement that records `version`; versions are letters and digits.
    pub(super) fn insert(&self, version: &str) -> String {
        format!("INSERT INTO {} (version) VALUES ('{version}')", self.table)
    }

    /// The statement that forgets `version`.
    pub(super) fn delete(&self, version: &str) -> String {
        format!("DELETE FROM {} WHERE version = '{version}'", self.table)
    }
}

/// The name diesel gives the table.
pub(super) const TABLE: &str = "__diesel_schema_migrations";
