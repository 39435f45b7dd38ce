//! The steps before and after a statement with `CONCURRENTLY`.

use crate::migrate::apply::Applier;
use crate::migrate::concurrent_index::ConcurrentIndex;
use crate::migrate::error::MigrateError;
use crate::migrate::failed_migration::LeftBehind;
use crate::migrate::statements::MigrationStatement;
use crate::migrate::step::Step;

/// What the database had before the statement.
pub(super) struct Before {
    index: Option<ConcurrentIndex>,
    invalid: Vec<String>,
}

impl Applier<'_> {
    /// Drops the invalid index that an earlier attempt at the same index has left, so that the statement
    /// builds the index instead of finding it. Every other invalid index stays.
    pub(super) async fn before(
        &self,
        statement: &MigrationStatement<'_>,
        step: &Step<'_>,
    ) -> Result<Before, MigrateError> {
        if !statement.concurrent {
            return Ok(Before {
                index: None,
                invalid: Vec::new(),
            });
        }
        let index = ConcurrentIndex::of(statement);
        if let Some(index) = &index {
            self.drop_invalid(index, step).await?;
        }
        let invalid = self.invalid_indexes().await;
        Ok(Before { index, invalid })
    }

    async fn drop_invalid(
        &self,
        index: &ConcurrentIndex,
        step: &Step<'_>,
    ) -> Result<(), MigrateError> {
        let client = &self.session.client;
        let failed = |doing: &str| {
            MigrateError::bookkeeping(format!("{doing} for migration {}", step.title()))
        };
        let looked = index.find(client).await;
        let is_unfinished = looked
            .map_err(failed("look for an invalid index"))?
            .is_some_and(|found| found.on_table && !found.is_valid);
        if !is_unfinished {
            return Ok(());
        }
        // The index may be invalid because another session is building it now.
        let wait = index.wait_for_builders();
        let waited = client.batch_execute(&wait);
        self.watch
            .during(None, waited)
            .await
            .map_err(failed("wait for a build of an index"))?;
        let looked = index.find(client).await;
        let found = looked.map_err(failed("look for an invalid index"))?;
        if let Some(found) = found.filter(|found| found.on_table && !found.is_valid) {
            let drop = format!("DROP INDEX CONCURRENTLY {}", found.name);
            tracing::info!(target: "app_db::migrate", index = found.name, "dropping the invalid index of an earlier attempt");
            self.watch
                .during(None, client.batch_execute(&drop))
                .await
                .map_err(failed("drop an invalid index"))?;
        }
        Ok(())
    }

    /// What a failed statement has left, when `done` statements had run before it.
    pub(super) async fn left_behind(&self, done: usize, before: &Before) -> LeftBehind {
        let mut invalid_indexes = self.invalid_indexes().await;
        let mut next_run_drops = false;
        if let Some(index) = &before.index {
            let found = index.find(&self.session.client).await.ok().flatten();
            let unfinished = found.filter(|found| found.on_table && !found.is_valid);
            invalid_indexes = unfinished.map(|found| found.name).into_iter().collect();
            next_run_drops = true;
        } else {
            invalid_indexes.retain(|index| !before.invalid.contains(index));
        }
        LeftBehind::Statements {
            done,
            invalid_indexes,
            next_run_drops,
        }
    }

    /// Fails unless the index exists and is valid. `IF NOT EXISTS` succeeds with any index of the name.
    pub(super) async fn require_valid(
        &self,
        before: &Before,
        step: &Step<'_>,
    ) -> Result<(), MigrateError> {
        let Some(index) = &before.index else {
            return Ok(());
        };
        let failed =
            MigrateError::bookkeeping(format!("look for the index of migration {}", step.title()));
        let found = index.find(&self.session.client).await.map_err(failed)?;
        let problem = match found {
            Some(found) if !found.on_table => {
                format!("{} is an index of another table", found.name)
            }
            Some(found) if !found.is_valid => format!("{} is not valid", found.name),
            _ => return Ok(()),
        };
        Err(MigrateError::IndexNotBuilt {
            migration: step.title(),
            table: index.table().to_owned(),
            problem,
        })
    }

    async fn invalid_indexes(&self) -> Vec<String> {
        let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_index i \
                   JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
                   JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                   WHERE NOT i.indisvalid ORDER BY 1";
        let rows = self.session.client.query(sql, &[]).await;
        let rows = rows.unwrap_or_default();
        rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
    }
}
