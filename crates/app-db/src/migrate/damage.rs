//! Problems of the record and leftovers of failures, each with its remedy.

use std::collections::BTreeSet;

use serde::Serialize;
use tokio_postgres::{Error, Row};

use crate::migrate::Migrator;
use crate::migrate::concurrent_index::ConcurrentIndex;
use crate::migrate::count::Count;
use crate::migrate::error::MigrateError;
use crate::migrate::migrator_session::MigratorSession;
use crate::migrate::report;
use crate::migrate::source::Migration;
use crate::migrate::statements::split;
use crate::migrate::step::Step;

/// One problem that a person or the next run has to put in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Damage {
    /// An applied migration whose `up.sql` is not the one that was applied.
    #[non_exhaustive]
    Edited {
        /// The version as recorded.
        version: String,
        /// `<version>_<name>`.
        migration: String,
    },
    /// A migration outside a transaction that was interrupted.
    #[non_exhaustive]
    Unfinished {
        /// The version as recorded.
        version: String,
        /// `<version>_<name>`, or only the version if the source lacks its files.
        migration: String,
        /// How many of its statements have run.
        done: usize,
        /// How many it has. `None` if the source lacks its files.
        of: Option<usize>,
        /// Whether the statements that have run were edited since, so that no run continues after them.
        edited: bool,
    },
    /// A pending migration that failed. The server has rolled all of it back.
    #[non_exhaustive]
    Failed {
        /// The version as recorded.
        version: String,
        /// `<version>_<name>`.
        migration: String,
        /// When it failed, in UTC.
        failed_at: String,
        /// The SQLSTATE, if the server sent one.
        sqlstate: Option<String>,
    },
    /// An index that no query uses, and that still costs every write. A unique one may refuse rows.
    #[non_exhaustive]
    InvalidIndex {
        /// Schema and name, quoted where necessary.
        index: String,
        /// The schema and name of its table, quoted where necessary.
        table: String,
        /// The session that is building it now.
        built_by: Option<i32>,
        /// The pending migration that drops it and builds it again.
        rebuilt_by: Option<String>,
        /// Whether it belongs to a partitioned table and lacks the index of a partition.
        lacks_partitions: bool,
    },
}

impl Damage {
    /// The migration or the index that has the problem.
    pub fn object(&self) -> String {
        match self {
            Self::Edited { migration, .. }
            | Self::Unfinished { migration, .. }
            | Self::Failed { migration, .. } => migration.clone(),
            Self::InvalidIndex { index, table, .. } => format!("{index} on {table}"),
        }
    }

    /// The problem in words.
    pub fn problem(&self) -> String {
        match self {
            Self::Edited { .. } => "edited after it was applied".to_owned(),
            Self::Unfinished {
                done, of, edited, ..
            } => {
                let of = of.map_or_else(String::new, |of| format!(" of {of}"));
                let edited = if *edited { ", edited since" } else { "" };
                match done {
                    0 => "unfinished: its first statement has failed or was interrupted".to_owned(),
                    _ => format!("unfinished: {done}{of} statements have run{edited}"),
                }
            }
            Self::Failed {
                failed_at,
                sqlstate,
                ..
            } => {
                let code = sqlstate.as_ref();
                let code = code.map_or_else(String::new, |code| format!(" with SQLSTATE {code}"));
                format!("failed at {failed_at}{code}, and left nothing")
            }
            Self::InvalidIndex {
                built_by: Some(pid),
                ..
            } => format!("invalid index, which backend {pid} is building"),
            Self::InvalidIndex { .. } => "invalid index".to_owned(),
        }
    }

    /// What helps.
    pub fn remedy(&self) -> String {
        match self {
            Self::Edited { version, .. } => {
                format!("restore the file, or `dbctl migrate repair --accept {version}`")
            }
            Self::Unfinished {
                of: None, version, ..
            } => format!(
                "run it from a checkout that has its files, or forget it with \
                 `dbctl migrate repair --restart {version}`"
            ),
            Self::Unfinished {
                version,
                edited: true,
                done,
                ..
            } => format!(
                "restore the first {}, or `dbctl migrate repair --restart {version}`",
                Count(*done, "statement", "statements")
            ),
            Self::Unfinished { done: 1.., .. } => {
                "`dbctl migrate run` continues after them".to_owned()
            }
            Self::Unfinished { .. } | Self::Failed { .. } => {
                "mend it, then `dbctl migrate run`".to_owned()
            }
            Self::InvalidIndex {
                built_by: Some(_), ..
            } => "wait".to_owned(),
            Self::InvalidIndex {
                rebuilt_by: Some(migration),
                ..
            } => format!("`dbctl migrate run` drops it and builds it again ({migration})"),
            Self::InvalidIndex {
                lacks_partitions: true,
                index,
                ..
            } => format!("ALTER INDEX {index} ATTACH PARTITION .. for each partition"),
            Self::InvalidIndex { index, .. } if is_leftover(index) => {
                format!("DROP INDEX CONCURRENTLY {index}")
            }
            Self::InvalidIndex { index, .. } => format!(
                "DROP INDEX CONCURRENTLY {index}, or REINDEX INDEX CONCURRENTLY {index} to finish it"
            ),
        }
    }
}

/// Whether `REINDEX CONCURRENTLY` has left it beside the real index.
fn is_leftover(index: &str) -> bool {
    let name = index
        .trim_end_matches('"')
        .trim_end_matches(|c: char| c.is_ascii_digit());
    name.ends_with("_ccnew") || name.ends_with("_ccold")
}

impl Migrator {
    /// Problems of the record and leftovers of failures: edited, unfinished and failed migrations, and all
    /// invalid indexes of the database. This changes nothing and takes no lock.
    ///
    /// # Errors
    ///
    /// The errors of [`status`](Self::status).
    pub async fn damage(&self) -> Result<Vec<Damage>, MigrateError> {
        let migrations = self.source.read()?;
        let session = self.open().await?;
        let damage = look(&session, &migrations).await;
        session.close().await;
        damage
    }
}

async fn look(
    session: &MigratorSession,
    migrations: &[Migration],
) -> Result<Vec<Damage>, MigrateError> {
    let applied = session.history.read(&session.client).await?;
    let notes = session.side_table.read(&session.client).await?;
    let edited = report::drifted(migrations, &notes).map(|migration| Damage::Edited {
        version: migration.version.clone(),
        migration: migration.title(),
    });
    let mut damage: Vec<Damage> = edited.collect();
    for (version, progress) in notes.unfinished {
        let migration = migrations.iter().find(|m| m.version == version);
        let step = migration.map(|migration| Step::up(migration, session));
        damage.push(Damage::Unfinished {
            migration: migration.map_or_else(|| version.clone(), Migration::title),
            done: progress.done,
            of: step.as_ref().map(|step| step.statements().len()),
            edited: step
                .is_some_and(|step| step.progress(progress.done).checksum != progress.checksum),
            version,
        });
    }
    damage.extend(notes.failed.into_iter().filter_map(|(version, failure)| {
        let migration = migrations.iter().find(|m| m.version == version)?;
        Some(Damage::Failed {
            migration: migration.title(),
            version,
            failed_at: failure.at,
            sqlstate: failure.sqlstate,
        })
    }));
    let pending = migrations
        .iter()
        .filter(|migration| !applied.contains_key(&migration.version));
    let failed = MigrateError::bookkeeping("look for invalid indexes");
    damage.extend(invalid_indexes(session, pending).await.map_err(failed)?);
    Ok(damage)
}

async fn invalid_indexes<'m>(
    session: &MigratorSession,
    pending: impl Iterator<Item = &'m Migration>,
) -> Result<Vec<Damage>, Error> {
    let rows = session.client.query(INVALID, &[]).await?;
    let mut found = rows
        .iter()
        .map(invalid_index)
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Ok(found);
    }
    let mut seen = BTreeSet::new();
    for migration in pending {
        for statement in split(&migration.up) {
            let Some(built) = ConcurrentIndex::of(&statement) else {
                continue;
            };
            let there = built.find(&session.client).await?;
            let Some(there) =
                there.filter(|there| there.on_table && seen.insert(there.name.clone()))
            else {
                continue;
            };
            for damage in &mut found {
                if let Damage::InvalidIndex {
                    index, rebuilt_by, ..
                } = damage
                    && *index == there.name
                {
                    *rebuilt_by = Some(migration.title());
                }
            }
        }
    }
    Ok(found)
}

fn invalid_index(row: &Row) -> Result<Damage, Error> {
    Ok(Damage::InvalidIndex {
        index: row.try_get(0)?,
        table: row.try_get(1)?,
        built_by: row.try_get(2)?,
        rebuilt_by: None,
        lacks_partitions: row.try_get(3)?,
    })
}

/// `pg_stat_progress_create_index` shows the builds of this database.
const INVALID: &str = "SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', m.nspname, t.relname), \
     (SELECT min(p.pid) FROM pg_catalog.pg_stat_progress_create_index p \
      WHERE p.index_relid = i.indexrelid AND p.relid = i.indrelid), c.relkind = 'I' \
     FROM pg_catalog.pg_index i \
     JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace m ON m.oid = t.relnamespace \
     WHERE NOT i.indisvalid AND t.relpersistence <> 't' ORDER BY 1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rebuild_leaves_is_dropped_and_anything_else_may_be_finished() {
        let index = |index: &str| Damage::InvalidIndex {
            index: index.to_owned(),
            table: "public.t".to_owned(),
            built_by: None,
            rebuilt_by: None,
            lacks_partitions: false,
        };
        for left in ["public.a_ccnew", "public.a_ccold1", "public.\"A_ccnew\""] {
            assert!(!index(left).remedy().contains("REINDEX"), "{left}");
        }
        assert!(index("public.accnew").remedy().contains("REINDEX"));
    }
}
