//! A run as a script for psql.

use std::fmt::Write as _;

use crate::migrate::Migrator;
use crate::migrate::error::MigrateError;
use crate::migrate::layout::UP;
use crate::migrate::migrator_session::{CLEAR, MigratorSession};
use crate::migrate::source::Migration;
use crate::migrate::step::Step;

impl Migrator {
    /// What [`run`](Self::run) would apply now, as a script for psql: the statements of the pending
    /// migrations, and the records that they have run. psql then leaves the same catalogue and history as a
    /// run.
    ///
    /// The script takes the migrators' lock, and stops at the first error. It lacks what a run does beyond
    /// its statements: it does not retry, does not drop invalid indexes, and does not name blocking
    /// sessions.
    ///
    /// # Errors
    ///
    /// The errors of [`plan`](Self::plan). This changes nothing.
    pub async fn script(&self) -> Result<String, MigrateError> {
        let migrations = self.source.read()?;
        let mut session = self.open().await?;
        let script = self.script_in(&mut session, &migrations).await;
        session.close().await;
        script
    }

    async fn script_in(
        &self,
        session: &mut MigratorSession,
        migrations: &[Migration],
    ) -> Result<String, MigrateError> {
        let pending = self.pending(session, migrations).await?;
        let done = session.side_table.read(&session.client).await?.unfinished;
        let mut script = format!(
            "-- {} pending migrations of the database {}, for psql.\n\
             \\set ON_ERROR_STOP on\n{};\n\
             SELECT 1 / {}::int AS \"no other migrator runs\";\n",
            pending.len(),
            session.history.database,
            crate::migrate::migrator_session::SESSION_SETTINGS,
            session.try_lock_sql(),
        );
        for table in session.tables_to_create() {
            let _ = writeln!(script, "{table};");
        }
        for migration in pending {
            let step = Step::up(migration, session);
            let first = done
                .get(&migration.version)
                .map_or(0, |progress| progress.done);
            self.add_migration(&mut script, migration, &step, first);
        }
        Ok(script)
    }

    fn add_migration(
        &self,
        script: &mut String,
        migration: &Migration,
        step: &Step<'_>,
        first: usize,
    ) {
        let file = migration.path.join(UP);
        let _ = writeln!(script, "\n-- {}", file.display());
        let scope = if migration.run_in_transaction {
            script.push_str("BEGIN;\n");
            "SET LOCAL"
        } else {
            "SET"
        };
        let _ = writeln!(script, "{}", step.timeouts(scope, &self.settings));
        for (done, statement) in step.statements().iter().enumerate() {
            if done < first && statement.verb() != "set" {
                continue;
            }
            if statement.concurrent {
                script.push_str("SET lock_timeout = 0; SET statement_timeout = 0;\n");
            }
            let _ = writeln!(script, "{}\n;", statement.sql);
        }
        let record = format!(
            "RESET SESSION AUTHORIZATION; RESET ROLE; {};\n",
            step.record
        );
        if migration.run_in_transaction {
            let _ = write!(script, "{record}COMMIT;\n{CLEAR};\n");
        } else {
            let _ = write!(script, "{CLEAR};\n{record}");
        }
    }
}
