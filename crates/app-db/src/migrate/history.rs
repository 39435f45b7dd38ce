//! diesel's table of applied migrations, the single record of what has run.
//!
//! It is the unchanged table of `diesel migration run`, so that each tool can continue after the other. SQL
//! names it with its schema, because a migration may change `search_path`.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

use crate::migrate::error::MigrateError;
use crate::migrate::search_path::first_named;
use crate::migrate::source::Migration;

/// Where the table is, or will be. It is found once and stays there for the whole command.
pub(super) struct History {
    pub(super) database: String,
    pub(super) schema: String,
    /// The role of the session.
    pub(super) role: String,
    /// The table with its schema, for SQL.
    pub(super) table: String,
    state: TableState,
    /// Schemas with another table of this name, each with whether `search_path` names it.
    others: Vec<(String, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TableState {
    Present,
    /// The schema exists, the table does not.
    Absent,
    /// Not even the schema exists. The first migration should create it, so the migrator creates the table
    /// together with the first record.
    WithoutSchema,
}

impl History {
    /// Finds the table along the `search_path`, or else the schema for it.
    ///
    /// The first migration may have to create that schema. The history belongs there all the same: in another
    /// schema, neither the next run nor diesel would find it, and both would apply everything again.
    pub(super) async fn find(client: &Client) -> Result<Self, MigrateError> {
        Self::look(client)
            .await
            .map_err(MigrateError::bookkeeping(format!("find {TABLE}")))
    }

    async fn look(client: &Client) -> Result<Self, Error> {
        let row = client.query_one(PATH, &[]).await?;
        let (database, current): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let (path, user): (String, String) = (row.try_get(2)?, row.try_get(3)?);

        let mut found = Vec::new();
        for row in client.query(TABLES, &[]).await? {
            found.push((row.try_get(0)?, row.try_get(1)?));
        }
        // For a role without a `search_path`, the table has always been in `public`.
        let named = first_named(&path, &user).unwrap_or_else(|| PUBLIC.to_owned());
        let is_ours = |(schema, in_path): &(String, bool)| {
            *in_path || (current.is_none() && *schema == named)
        };
        let position = found.iter().position(is_ours);
        let (schema, state) = match (position.map(|at| found.remove(at)), current) {
            (Some((schema, _)), _) => (schema, TableState::Present),
            (None, Some(current)) => (current, TableState::Absent),
            (None, None) if named == PUBLIC => (named, TableState::Absent),
            (None, None) => (named, TableState::WithoutSchema),
        };
        Ok(Self {
            table: qualified(&schema),
            database,
            schema,
            role: user,
            state,
            others: found,
        })
    }

    /// Refuses to work if another history has recorded some of `migrations`, because one of the two was made
    /// by mistake. Several services may each have a history in one database if their versions or their search
    /// paths differ.
    pub(super) async fn refuse_another(
        &self,
        client: &Client,
        migrations: &[Migration],
    ) -> Result<(), MigrateError> {
        if self.others.is_empty() {
            return Ok(());
        }
        let is_new = self.read(client).await?.is_empty();
        // A history outside the `search_path` counts only if ours is empty: the first run may have had
        // another path.
        for (schema, _) in self.others.iter().filter(|(_, in_path)| *in_path || is_new) {
            let other = qualified(schema);
            let versions = read_table(client, &other).await?;
            let ours = migrations
                .iter()
                .filter(|m| m.version != INITIAL_SETUP && versions.contains_key(&m.version));
            let recorded = ours.count();
            if recorded > 0 {
                return Err(MigrateError::TwoHistories {
                    used: self.table.clone(),
                    other,
                    recorded,
                });
            }
        }
        Ok(())
    }

    /// Creates the table if it is missing and its schema exists. Call it only with the lock, as two sessions
    /// that create the table at the same time collide.
    pub(super) async fn create(&mut self, client: &Client) -> Result<(), MigrateError> {
        // An existing table is not created again: the role may be allowed to write it but not to create it.
        if self.state == TableState::Absent {
            let failed = MigrateError::bookkeeping(format!("create {}", self.table));
            client
                .batch_execute(&self.definition())
                .await
                .map_err(failed)?;
            self.state = TableState::Present;
        }
        Ok(())
    }

    /// The definition of the table, if a run would create it before the first migration.
    pub(super) fn missing_definition(&self) -> Option<String> {
        (self.state == TableState::Absent).then(|| self.definition())
    }

    /// Applied versions with the time of each, in UTC.
    pub(super) async fn read(
        &self,
        client: &Client,
    ) -> Result<BTreeMap<String, String>, MigrateError> {
        match self.state {
            TableState::Present => read_table(client, &self.table).await,
            TableState::Absent | TableState::WithoutSchema => Ok(BTreeMap::new()),
        }
    }

    /// The SQL that records `version`; versions are letters and digits.
    pub(super) fn insert(&self, version: &str) -> String {
        let insert = format!("INSERT INTO {} (version) VALUES ('{version}')", self.table);
        match self.state {
            TableState::WithoutSchema => format!("{}; {insert}", self.definition()),
            TableState::Present | TableState::Absent => insert,
        }
    }

    /// The statement that forgets `version`.
    pub(super) fn delete(&self, version: &str) -> String {
        format!("DELETE FROM {} WHERE version = '{version}'", self.table)
    }

    /// Another table in the schema of the history, qualified for SQL.
    pub(super) fn beside(&self, table: &str) -> String {
        format!("\"{}\".{table}", self.schema.replace('"', "\"\""))
    }

    /// Whether a migration still has to create the schema.
    pub(super) fn lacks_schema(&self) -> bool {
        self.state == TableState::WithoutSchema
    }

    fn definition(&self) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {} (version VARCHAR(50) PRIMARY KEY NOT NULL, \
             run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)",
            self.table
        )
    }
}

async fn read_table(
    client: &Client,
    table: &str,
) -> Result<BTreeMap<String, String>, MigrateError> {
    let sql = format!(
        "SELECT version::text, to_char(run_on, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM {table}"
    );
    let failed = MigrateError::bookkeeping(format!("read {table}"));
    let rows = client.query(&sql, &[]).await.map_err(failed)?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_, Error>>()
        .map_err(MigrateError::bookkeeping(format!("understand {table}")))
}

fn qualified(schema: &str) -> String {
    format!("\"{}\".{TABLE}", schema.replace('"', "\"\""))
}

/// diesel's name for the table.
pub(super) const TABLE: &str = "__diesel_schema_migrations";

const PUBLIC: &str = "public";

/// The first migration in every folder that diesel's command line has set up.
const INITIAL_SETUP: &str = "00000000000000";

const PATH: &str = "SELECT current_database()::text, current_schema()::text, \
     current_setting('search_path'), current_user::text";

/// The tables of this name along the `search_path`, in its order, and the one in `public`.
const TABLES: &str = "SELECT n.nspname::text, n.nspname = ANY (current_schemas(false)) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relname = '__diesel_schema_migrations' AND c.relkind IN ('r', 'p', 'v', 'f') \
     AND (n.nspname = ANY (current_schemas(false)) OR n.nspname = 'public') \
     ORDER BY array_position(current_schemas(false), n.nspname) NULLS LAST";
