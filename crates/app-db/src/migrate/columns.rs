//! The columns that a database has, to compare them with `schema.rs`.

use serde::{Deserialize, Serialize};
use tokio_postgres::Error;

use crate::migrate::Migrator;
use crate::migrate::error::MigrateError;
use crate::migrate::migrator_session::MigratorSession;

/// A column of a table or view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Column {
    /// The schema of the table. `None` if it is the first of the `search_path`.
    pub schema: Option<String>,
    /// The table, view or materialized view.
    pub table: String,
    /// The column.
    pub name: String,
    /// The name of its type in `pg_type`, such as `int4`. For an array, the type of its elements.
    pub sql_type: String,
    /// Whether it is an array.
    pub is_array: bool,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether the table is a view, in which every column may be NULL.
    pub of_view: bool,
}

impl Migrator {
    /// The columns of all tables and views, ordered by table and position. The server's own and the migrator's
    /// own tables are left out.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Connect`], [`MigrateError::Pooled`] and [`MigrateError::Bookkeeping`]. It changes
    /// nothing.
    pub async fn columns(&self) -> Result<Vec<Column>, MigrateError> {
        let session = self.open().await?;
        let failed = MigrateError::bookkeeping("read the columns of the tables");
        let columns = read(&session).await.map_err(failed);
        session.close().await;
        columns
    }
}

async fn read(session: &MigratorSession) -> Result<Vec<Column>, Error> {
    let rows = session.client.query(COLUMNS, &[]).await?;
    let columns = rows.iter().map(|row| {
        Ok(Column {
            schema: row.try_get(0)?,
            table: row.try_get(1)?,
            name: row.try_get(2)?,
            sql_type: row.try_get(3)?,
            is_array: row.try_get(4)?,
            nullable: row.try_get(5)?,
            of_view: row.try_get(6)?,
        })
    });
    columns.collect()
}

/// A domain has its base type, as diesel does not know domains.
const COLUMNS: &str = "SELECT nullif(n.nspname::text, current_schema()::text), c.relname::text, a.attname::text, \
     coalesce(e.typname, b.typname, t.typname)::text, e.oid IS NOT NULL, NOT a.attnotnull, \
     c.relkind IN ('v', 'm') \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd' \
     LEFT JOIN pg_catalog.pg_type e ON e.typarray = coalesce(b.oid, t.oid) \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
     AND c.relname NOT IN ('__diesel_schema_migrations', '__dbctl_migrations') \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
     AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid) \
     ORDER BY 1 NULLS FIRST, 2, a.attnum";
