//! diesel's own traits for migrations, in both directions.
//!
//! A program that embeds its folder with diesel's macro can pass it to a [`Migrator`](super::Migrator). A program
//! that calls diesel's `MigrationHarness` can pass it a [`MigrationSource`].

use std::any::Any;
use std::fmt;
use std::path::Path;

use diesel::connection::{BoxableConnection, SimpleConnection};
use diesel::migration::{self, MigrationMetadata, MigrationName, MigrationVersion};
use diesel::pg::Pg;
use diesel::result::QueryResult;

use crate::migrate::error::MigrateError;
use crate::migrate::layout::version_of;
use crate::migrate::source::{EmbeddedMigration, Migration, MigrationSource};
use crate::migrate::statements::split;

impl MigrationSource {
    /// Takes the migrations of a diesel source, such as its `embed_migrations!` or `FileBasedMigrations`.
    ///
    /// Of `metadata.toml`, diesel passes on only whether the migration runs in a transaction, so the table `[dbctl]`
    /// has no effect. [`embed_migrations!`](crate::embed_migrations) reads all of it.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Source`] if diesel cannot read the migrations, or if one of them is a program and not a text.
    pub fn of_diesel(source: &impl migration::MigrationSource<Pg>) -> Result<Self, MigrateError> {
        let failed = |error| {
            let problem = format!("cannot be read by diesel: {error}");
            MigrateError::source(Path::new("the embedded migrations"), problem)
        };
        let migrations = source.migrations().map_err(failed)?;
        let embedded = migrations.iter().map(|migration| text_of(&**migration));
        Ok(Self::embedded(embedded.collect::<Result<Vec<_>, _>>()?))
    }
}

fn text_of(migration: &dyn migration::Migration<Pg>) -> Result<EmbeddedMigration, MigrateError> {
    let name = migration.name().to_string();
    let mut recorder = Recorder::default();
    if let Err(error) = migration.run(&mut recorder) {
        let problem = format!("is not a text of SQL: {error}");
        return Err(MigrateError::source(Path::new(&name), problem));
    }
    let up = std::mem::take(&mut recorder.text);
    let in_transaction = migration.metadata().run_in_transaction();
    let embedded = EmbeddedMigration::new(name, up)
        .with_metadata(format!("run_in_transaction = {in_transaction}"));
    // diesel reports a missing `down.sql` as an error.
    Ok(match migration.revert(&mut recorder) {
        Ok(()) => embedded.with_down(recorder.text),
        Err(_) => embedded,
    })
}

/// A connection without a server, which records what diesel executes on it.
#[derive(Default)]
struct Recorder {
    text: String,
}

impl SimpleConnection for Recorder {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.text.push_str(query);
        Ok(())
    }
}

impl BoxableConnection<Pg> for Recorder {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// For diesel's `MigrationHarness`, which takes no lock, retries nothing and keeps no checksums; a
/// [`Migrator`](super::Migrator) does all three.
impl migration::MigrationSource<Pg> for MigrationSource {
    fn migrations(&self) -> migration::Result<Vec<Box<dyn migration::Migration<Pg>>>> {
        let migrations = self.read()?.into_iter();
        Ok(migrations
            .map(|migration| Box::new(ForDiesel::from(migration)) as Box<_>)
            .collect())
    }
}

/// One of our migrations, as diesel runs it.
struct ForDiesel {
    migration: Migration,
    name: DirectoryName,
    transaction: Transaction,
}

struct DirectoryName(String);

struct Transaction(bool);

impl From<Migration> for ForDiesel {
    fn from(migration: Migration) -> Self {
        let directory = migration.path.file_name().unwrap_or_default();
        Self {
            name: DirectoryName(directory.to_string_lossy().into_owned()),
            transaction: Transaction(migration.run_in_transaction),
            migration,
        }
    }
}

impl ForDiesel {
    /// Outside a transaction each statement is sent alone, as the server runs several as one transaction.
    fn execute(&self, text: &str, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        if self.migration.run_in_transaction {
            return Ok(conn.batch_execute(text)?);
        }
        for statement in split(text) {
            conn.batch_execute(statement.sql)?;
        }
        Ok(())
    }
}

impl migration::Migration<Pg> for ForDiesel {
    fn run(&self, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        self.execute(&self.migration.up, conn)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<Pg>) -> migration::Result<()> {
        match &self.migration.down {
            Some(down) => self.execute(down, conn),
            None => Err(format!("{} has no down.sql", self.name).into()),
        }
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &self.transaction
    }

    fn name(&self) -> &dyn MigrationName {
        &self.name
    }
}

impl MigrationName for DirectoryName {
    fn version(&self) -> MigrationVersion<'_> {
        version_of(&self.0).into()
    }
}

impl fmt::Display for DirectoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl MigrationMetadata for Transaction {
    fn run_in_transaction(&self) -> bool {
        self.0
    }
}
