//! Adopts a database whose schema already exists.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

use crate::migrate::Migrator;
use crate::migrate::checksum::checksum;
use crate::migrate::effect::statement::effect_of;
use crate::migrate::error::MigrateError;
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::notes::Noted;
use crate::migrate::selection::known_version;
use crate::migrate::source::Migration;
use crate::migrate::statements::split;

impl Migrator {
    /// Records all migrations up to `version` as applied, without running any of them, and returns
    /// `<version>_<name>` of each one that was not recorded yet.
    ///
    /// It first looks for the tables, indexes, views and sequences that these migrations create and do not
    /// remove. `version` may be written as in the name of the directory.
    ///
    /// # Errors
    ///
    /// [`MigrateError::NoBaseline`] if relations are missing, [`MigrateError::UnknownVersion`], and the errors
    /// of [`run`](Self::run) except the errors of running a migration. After an error nothing is recorded. If
    /// the future is dropped before the end, nothing is recorded either.
    pub async fn baseline(&self, version: &str) -> Result<Vec<String>, MigrateError> {
        let migrations = self.source.read()?;
        let last = known_version(version, &migrations)?;
        let session = self.open_and_lock(&migrations).await?;
        let before: Vec<&Migration> = migrations.iter().filter(|m| m.version <= last).collect();
        let recorded = record(&session, &before, last).await;
        session.close().await;
        recorded
    }
}

async fn record(
    session: &MigratorSession,
    migrations: &[&Migration],
    last: String,
) -> Result<Vec<String>, MigrateError> {
    let failed = MigrateError::bookkeeping("look for what the migrations create");
    let expected = created(migrations);
    let missing = absent(&session.client, &expected).await.map_err(failed)?;
    if !missing.is_empty() {
        let version = last;
        return Err(MigrateError::NoBaseline { version, missing });
    }
    let applied = session.history.read(&session.client).await?;
    let mut sql = "BEGIN".to_owned();
    let mut recorded = Vec::new();
    for migration in migrations {
        if applied.contains_key(&migration.version) {
            continue;
        }
        let insert = session.history.insert(&migration.version);
        let sum = checksum(&migration.up);
        let note = session
            .side_table
            .note(Noted::of(migration, &sum), "baselined");
        sql = format!("{sql}; {insert}; {note}");
        recorded.push(migration.title());
    }
    let failed = MigrateError::bookkeeping(format!("record the baseline {last}"));
    session
        .client
        .batch_execute(&format!("{sql}; COMMIT"))
        .await
        .map_err(failed)?;
    Ok(recorded)
}

/// The relations that exist after `migrations`, as their statements name them.
fn created(migrations: &[&Migration]) -> Vec<String> {
    // Names are compared without the schema, as one statement may write the schema and another may not.
    let mut there = BTreeMap::new();
    for statement in migrations.iter().flat_map(|migration| split(&migration.up)) {
        let effect = effect_of(statement.sql);
        if statement.verb() == "drop" && effect.opaque {
            // The text does not show what CASCADE drops.
            there.clear();
        }
        for dropped in &effect.drops {
            there.remove(&last_part(dropped));
        }
        there.extend(
            effect
                .creates
                .into_iter()
                .map(|name| (last_part(&name), name)),
        );
    }
    there.into_values().collect()
}

fn last_part(name: &str) -> String {
    let part = name.rsplit_once('.').map_or(name, |(_, part)| part);
    match part
        .strip_prefix('"')
        .and_then(|part| part.strip_suffix('"'))
    {
        Some(quoted) => quoted.to_owned(),
        None => part.to_lowercase(),
    }
}

/// The `names` that no schema has.
async fn absent(client: &Client, names: &[String]) -> Result<Vec<String>, Error> {
    let mut absent = Vec::new();
    for name in names {
        let there: bool = client.query_one(THERE, &[name]).await?.try_get(0)?;
        if !there {
            absent.push(name.clone());
        }
    }
    Ok(absent)
}

/// `parse_ident` reads the name as the server does.
const THERE: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c, parse_ident($1::text) AS p(parts) \
     WHERE c.relname = p.parts[array_length(p.parts, 1)]::name)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::source::{EmbeddedMigration, MigrationSource};

    #[test]
    fn what_is_removed_or_renamed_later_is_not_expected() {
        let migrations = MigrationSource::embedded([
            EmbeddedMigration::new(
                "1_a",
                "create table a(); create table public.b(); create view v as select 1",
            ),
            EmbeddedMigration::new(
                "2_b",
                "drop table A; alter table b rename to \"C\"; create temp table t()",
            ),
        ]);
        let loaded = migrations.read().unwrap();
        let all: Vec<&Migration> = loaded.iter().collect();
        assert_eq!(created(&all), ["\"C\"", "v"]);
        assert_eq!(created(&all[..1]), ["a", "public.b", "v"]);
    }
}
