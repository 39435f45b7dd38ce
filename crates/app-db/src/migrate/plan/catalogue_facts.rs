//! The questions of a plan to the catalogue.
//!
//! Nothing here opens a relation, because a plan must not queue behind a lock. Functions such as
//! `pg_relation_size` open one, so the queries avoid them.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

/// Name and size of a relation.
pub(super) struct Described {
    /// Schema and name, quoted where necessary.
    pub(super) name: String,
    pub(super) size_bytes: Option<i64>,
    pub(super) rows: Option<i64>,
}

/// The OID of the relation that a statement names. `None` if there is none.
pub(super) async fn oid(client: &Client, name: &str) -> Result<Option<u32>, Error> {
    let row = client
        .query_one("SELECT to_regclass($1::text)::oid", &[&name])
        .await;
    match row {
        Ok(row) => row.try_get(0),
        // The name has more dots than a name can have.
        Err(error) if error.code().is_some_and(is_about_names) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_about_names(code: &SqlState) -> bool {
    [
        SqlState::SYNTAX_ERROR,
        SqlState::INVALID_NAME,
        SqlState::FEATURE_NOT_SUPPORTED,
    ]
    .contains(code)
}

pub(super) async fn describe(client: &Client, oid: u32) -> Result<Option<Described>, Error> {
    let row = client.query_opt(DESCRIBE, &[&oid]).await?;
    row.map(|row| {
        Ok(Described {
            name: row.try_get(0)?,
            size_bytes: row.try_get(1)?,
            rows: row.try_get(2)?,
        })
    })
    .transpose()
}

/// The relations that `sql` finds for `oid`.
pub(super) async fn related(client: &Client, sql: &str, oid: u32) -> Result<Vec<u32>, Error> {
    oids(client, sql, &[&oid]).await
}

/// The relations that `sql` finds for `oid` and the name of a part of it.
pub(super) async fn named(
    client: &Client,
    sql: &str,
    oid: u32,
    name: &str,
) -> Result<Vec<u32>, Error> {
    oids(client, sql, &[&oid, &name]).await
}

async fn oids(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<u32>, Error> {
    let rows = client.query(sql, parameters).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Whether VACUUM, ANALYZE and ADD CONSTRAINT also lock the tables that inherit, as they do since PostgreSQL 18.
pub(super) async fn locks_heirs(client: &Client) -> Result<bool, Error> {
    let sql = "SELECT current_setting('server_version_num')::int >= 180000";
    client.query_one(sql, &[]).await?.try_get(0)
}

/// Whether one of these functions may return another value for each row.
pub(super) async fn any_volatile(client: &Client, functions: &[String]) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc \
               WHERE proname = ANY ($1::text[]) AND provolatile = 'v')";
    client.query_one(sql, &[&functions]).await?.try_get(0)
}

/// Whether a column keeps its stored values when its type becomes `to`.
pub(super) async fn keeps_values(
    client: &Client,
    table: u32,
    column: &str,
    to: &str,
) -> Result<bool, Error> {
    match client
        .query_opt(KEEPS_VALUES, &[&table, &column, &to])
        .await
    {
        Ok(row) => row.map_or(Ok(false), |row| row.try_get(0)),
        // Another pending migration creates the type.
        Err(error) if error.as_db_error().is_some() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a constraint shows already that a column has no NULL.
pub(super) async fn is_without_null(
    client: &Client,
    table: u32,
    column: &str,
) -> Result<bool, Error> {
    client
        .query_one(WITHOUT_NULL, &[&table, &column])
        .await?
        .try_get(0)
}

const DESCRIBE: &str = "SELECT format('%I.%I', n.nspname, c.relname), \
     (SELECT sum(p.relpages)::bigint * current_setting('block_size')::bigint \
      FROM pg_catalog.pg_class p WHERE p.oid IN (c.oid, c.reltoastrelid) \
      OR p.oid IN (SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = c.oid)), \
     CASE WHEN c.reltuples < 0 AND pg_stat_get_live_tuples(c.oid) = 0 THEN NULL \
     ELSE greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid)) END \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.oid = $1";

pub(super) const DESCENDANTS: &str = "WITH RECURSIVE tree(oid) AS ( \
     SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = $1 \
     UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid) \
     SELECT oid FROM tree";

pub(super) const PARTITIONS: &str = "WITH RECURSIVE tree(oid) AS ( \
     SELECT $1::oid UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i \
     JOIN tree ON i.inhparent = tree.oid \
     JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind IN ('p', 'I')) \
     SELECT oid FROM tree";

pub(super) const TABLE_OF_INDEX: &str =
    "SELECT indrelid FROM pg_catalog.pg_index WHERE indexrelid = $1";

pub(super) const PARENT: &str = "SELECT i.inhparent FROM pg_catalog.pg_inherits i \
     JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE i.inhrelid = $1 AND c.relispartition";

pub(super) const REFERENCED: &str =
    "SELECT confrelid FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conrelid = $1";

pub(super) const REFERENCING: &str =
    "SELECT conrelid FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = $1";

/// CASCADE, SET NULL and SET DEFAULT.
pub(super) const CHANGED_ON_DELETE: &str = "SELECT conrelid FROM pg_catalog.pg_constraint \
     WHERE contype = 'f' AND confrelid = $1 AND confdeltype IN ('c', 'n', 'd')";

pub(super) const OF_CONSTRAINT: &str = "SELECT confrelid FROM pg_catalog.pg_constraint \
     WHERE contype = 'f' AND conrelid = $1 AND conname = (parse_ident($2::text))[1]::name";

pub(super) const OF_COLUMN: &str = "SELECT CASE WHEN f.conrelid = $1 THEN f.confrelid ELSE f.conrelid END \
     FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_attribute a ON a.attrelid = $1 \
     AND a.attname = (parse_ident($2::text))[1]::name \
     WHERE f.contype = 'f' AND ((f.conrelid = $1 AND a.attnum = ANY (f.conkey)) \
     OR (f.confrelid = $1 AND a.attnum = ANY (f.confkey)))";

/// The relations that the query of a view reads: the ones that it names, also through other views, and
/// their descendants.
pub(super) const BEHIND_VIEW: &str = "WITH RECURSIVE behind(oid) AS ( \
     SELECT $1::oid UNION SELECT next.oid FROM behind, LATERAL ( \
     SELECT d.refobjid AS oid FROM pg_catalog.pg_rewrite r \
     JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm') \
     JOIN pg_catalog.pg_depend d ON d.objid = r.oid \
     AND d.classid = 'pg_catalog.pg_rewrite'::regclass \
     AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.ev_class \
     WHERE r.ev_class = behind.oid \
     UNION ALL SELECT inhrelid FROM pg_catalog.pg_inherits \
     WHERE inhparent = behind.oid AND behind.oid <> $1) AS next) \
     SELECT oid FROM behind WHERE oid <> $1";

/// True if the stored form stays: the same type with at least the length, or a type that the old one can be
/// cast to without a change. `atttypmod` is the length + 4 for varchar, and precision * 65536 + scale + 4
/// for numeric.
const KEEPS_VALUES: &str = "WITH old AS ( \
       SELECT a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a \
       WHERE a.attrelid = $1 AND a.attname = (parse_ident($2::text))[1]::name), \
     new AS (SELECT to_regtype($3::text)::oid AS type, \
       regexp_match($3::text, '[(]\\s*(\\d+)\\s*(?:,\\s*(\\d+)\\s*)?[)]') AS args) \
     SELECT coalesce(CASE \
       WHEN old.atttypid = new.type AND new.args IS NULL \
         THEN old.atttypmod = -1 OR new.type IN ('varchar'::regtype, 'numeric'::regtype, 'varbit'::regtype) \
       WHEN old.atttypid = new.type AND new.type = 'varchar'::regtype \
         THEN old.atttypmod <> -1 AND new.args[1]::int + 4 >= old.atttypmod \
       WHEN old.atttypid = new.type AND new.type = 'varbit'::regtype \
         THEN old.atttypmod <> -1 AND new.args[1]::int >= old.atttypmod \
       WHEN old.atttypid = new.type AND new.type = 'numeric'::regtype \
         THEN old.atttypmod <> -1 \
         AND coalesce(new.args[2], '0')::int = ((old.atttypmod - 4) & 65535) \
         AND new.args[1]::int >= ((old.atttypmod - 4) >> 16) \
       WHEN new.args IS NULL THEN EXISTS (SELECT FROM pg_catalog.pg_cast c \
         WHERE c.castsource = old.atttypid AND c.casttarget = new.type AND c.castmethod = 'b') \
       ELSE false END, false) FROM old, new";

/// `NULLTEST` of kind 1 is IS NOT NULL. Asking for the expression as text would open the table.
const WITHOUT_NULL: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a \
     WHERE a.attrelid = $1 AND a.attname = (parse_ident($2::text))[1]::name AND (a.attnotnull \
     OR EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = a.attrelid \
     AND c.contype = 'c' AND c.convalidated AND c.conkey = ARRAY[a.attnum] \
     AND c.conbin::text LIKE '{NULLTEST %:nulltesttype 1 %')))";
