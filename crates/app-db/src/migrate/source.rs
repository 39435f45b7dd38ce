//! The source of migrations: a directory in diesel's layout, or text compiled into the program.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use include_dir::{Dir, File};

use crate::migrate::error::MigrateError;
use crate::migrate::layout::{DOWN, METADATA, UP, version_of};
use crate::migrate::metadata::{Metadata, OwnLimits, Phase};

/// Where a [`Migrator`](super::Migrator) finds its migrations.
///
/// A directory has diesel's layout: `<version>_<name>/{up.sql,down.sql,metadata.toml}`. Only `up.sql` is
/// required. Every command reads the directory again.
#[derive(Clone, Debug)]
pub struct MigrationSource(SourceKind);

#[derive(Clone, Debug)]
enum SourceKind {
    Directory(PathBuf),
    Embedded(Vec<EmbeddedMigration>),
}

impl MigrationSource {
    /// Reads the migrations below `path`.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self(SourceKind::Directory(path.into()))
    }

    /// Carries the migrations inside the program, for services that have no directory beside them.
    ///
    /// ```
    /// use app_db::{EmbeddedMigration, MigrationSource};
    ///
    /// let source = MigrationSource::embedded([
    ///     EmbeddedMigration::new("2026-11-20-000000_create_notes", "create table notes(id bigint)")
    ///         .with_down("drop table notes"),
    /// ]);
    /// ```
    pub fn embedded(migrations: impl IntoIterator<Item = EmbeddedMigration>) -> Self {
        Self(SourceKind::Embedded(migrations.into_iter().collect()))
    }

    /// Carries a whole folder inside the program. [`embed_migrations!`](crate::embed_migrations) calls it.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Source`] if a file is not text, or a directory has no `up.sql`.
    pub fn included(folder: &Dir<'static>) -> Result<Self, MigrateError> {
        let mut migrations = Vec::new();
        for directory in folder.dirs() {
            let path = directory.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let up = included_text(folder, path, UP)?.ok_or_else(|| lacks_up(path))?;
            migrations.push(EmbeddedMigration {
                directory: Cow::Owned(name.to_owned()),
                up: Cow::Borrowed(up),
                down: included_text(folder, path, DOWN)?.map(Cow::Borrowed),
                metadata: included_text(folder, path, METADATA)?.map(Cow::Borrowed),
            });
        }
        Ok(Self::embedded(migrations))
    }

    /// Reads and checks all migrations, ordered by version.
    ///
    /// This blocks on the file system while it reads a few small files.
    ///
    /// # Errors
    ///
    /// [`MigrateError::Source`] names the file that is missing, unreadable or not understood.
    pub fn read(&self) -> Result<Vec<Migration>, MigrateError> {
        let mut migrations = match &self.0 {
            SourceKind::Directory(path) => read_directory(path)?,
            SourceKind::Embedded(embedded) => embedded
                .iter()
                .map(EmbeddedMigration::parse)
                .collect::<Result<Vec<_>, _>>()?,
        };
        migrations.sort_by(|a, b| a.version.cmp(&b.version));

        if let Some(twice) = migrations
            .windows(2)
            .find(|pair| pair[0].version == pair[1].version)
        {
            return Err(MigrateError::source(
                &twice[1].path,
                format!("has the same version as {}", twice[0].path.display()),
            ));
        }
        Ok(migrations)
    }
}

/// A migration compiled into the program, for example with `include_str!`.
#[derive(Clone, Debug)]
pub struct EmbeddedMigration {
    directory: Cow<'static, str>,
    up: Cow<'static, str>,
    down: Option<Cow<'static, str>>,
    metadata: Option<Cow<'static, str>>,
}

impl EmbeddedMigration {
    /// A migration named like a directory, `<version>_<name>`, with the text of its `up.sql`.
    pub fn new(directory: impl Into<Cow<'static, str>>, up: impl Into<Cow<'static, str>>) -> Self {
        Self {
            directory: directory.into(),
            up: up.into(),
            down: None,
            metadata: None,
        }
    }

    /// Adds the text of `down.sql`, without which the migration cannot be reverted.
    #[must_use]
    pub fn with_down(mut self, down: impl Into<Cow<'static, str>>) -> Self {
        self.down = Some(down.into());
        self
    }

    /// Adds the text of `metadata.toml`.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Cow<'static, str>>) -> Self {
        self.metadata = Some(metadata.into());
        self
    }

    fn parse(&self) -> Result<Migration, MigrateError> {
        let path = PathBuf::from(self.directory.as_ref());
        let metadata = self.metadata.as_deref();
        let metadata = Metadata::parse(&path.join(METADATA), metadata)?;
        let (version, name) = parse_directory_name(&path, &self.directory)?;
        Ok(Migration {
            version,
            name,
            up: without_bom(self.up.to_string()),
            down: self.down.as_ref().map(|down| without_bom(down.to_string())),
            run_in_transaction: metadata.run_in_transaction,
            phase: metadata.phase,
            limits: metadata.limits,
            path,
        })
    }
}

/// One migration, read and checked, but not yet known to the server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Migration {
    /// The part of the directory's name before the first `_`, without `-`, as diesel records it.
    pub version: String,
    /// The part of the directory's name after the first `_`.
    pub name: String,
    /// The directory.
    pub path: PathBuf,
    /// The text of `up.sql`, without a byte order mark.
    pub up: String,
    /// The text of `down.sql`, if there is one.
    pub down: Option<String>,
    /// Whether it runs in a transaction of the migrator.
    pub run_in_transaction: bool,
    /// Whether it runs before or after a deploy, if `metadata.toml` says so.
    pub phase: Option<Phase>,
    pub(super) limits: OwnLimits,
}

impl Migration {
    /// `<version>_<name>`, for messages.
    pub(super) fn title(&self) -> String {
        format!("{}_{}", self.version, self.name)
    }
}

fn read_directory(root: &Path) -> Result<Vec<Migration>, MigrateError> {
    // The error has the absolute path, as its reader may not know where the program was started.
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let unreadable = |error| MigrateError::unreadable(&absolute, error);
    let mut migrations = Vec::new();
    for entry in std::fs::read_dir(root).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let Some(directory) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(MigrateError::source(&path, "has a name that is not UTF-8"));
        };
        if !directory.starts_with('.') && path.is_dir() {
            migrations.push(read_migration(&path, directory)?);
        }
    }
    Ok(migrations)
}

fn read_migration(path: &Path, directory: &str) -> Result<Migration, MigrateError> {
    let (version, name) = parse_directory_name(path, directory)?;
    let up = read_optional(&path.join(UP))?.ok_or_else(|| lacks_up(path))?;
    let metadata = path.join(METADATA);
    let metadata = Metadata::parse(&metadata, read_optional(&metadata)?.as_deref())?;
    Ok(Migration {
        version,
        name,
        up,
        down: read_optional(&path.join(DOWN))?,
        run_in_transaction: metadata.run_in_transaction,
        phase: metadata.phase,
        limits: metadata.limits,
        path: path.to_owned(),
    })
}

fn included_text(
    folder: &Dir<'static>,
    directory: &Path,
    file: &str,
) -> Result<Option<&'static str>, MigrateError> {
    let path = directory.join(file);
    let Some(found) = folder.get_file(&path) else {
        return Ok(None);
    };
    let text = File::contents_utf8(found);
    text.map(Some)
        .ok_or_else(|| MigrateError::source(&path, "is not UTF-8"))
}

fn lacks_up(directory: &Path) -> MigrateError {
    MigrateError::source(directory, "has no up.sql, which every migration must have")
}

fn read_optional(path: &Path) -> Result<Option<String>, MigrateError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(without_bom(text))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(MigrateError::unreadable(path, error)),
    }
}

fn parse_directory_name(path: &Path, directory: &str) -> Result<(String, String), MigrateError> {
    let version = version_of(directory);
    let (_, name) = directory.split_once('_').unwrap_or((directory, ""));
    if version.is_empty() || !version.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(MigrateError::source(
            path,
            "is not named `<version>_<name>` with a version of letters, digits and `-`",
        ));
    }
    if version.len() > VERSION_COLUMN {
        return Err(MigrateError::source(
            path,
            format!("has a version of more than {VERSION_COLUMN} characters"),
        ));
    }
    Ok((version, name.to_owned()))
}

/// An applied migration with its `down.sql`, or the reason why it cannot be reverted.
pub(super) fn reversible<'a>(
    migrations: &'a [Migration],
    version: &str,
) -> Result<(&'a Migration, &'a str), MigrateError> {
    let irreversible = |reason: String| MigrateError::Irreversible {
        version: version.to_owned(),
        reason,
    };
    let migration = migrations
        .iter()
        .find(|migration| migration.version == version)
        .ok_or_else(|| irreversible("it is applied, but its files are not here".to_owned()))?;
    match &migration.down {
        Some(down) => Ok((migration, down)),
        None => Err(irreversible(format!(
            "{} has no down.sql",
            migration.path.display()
        ))),
    }
}

/// Removes a byte order mark, which would be a syntax error to the server.
fn without_bom(text: String) -> String {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// The width of diesel's `version` column.
const VERSION_COLUMN: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn load(migrations: &[EmbeddedMigration]) -> Result<Vec<Migration>, MigrateError> {
        MigrationSource::embedded(migrations.to_vec()).read()
    }

    #[test]
    fn versions_lose_their_dashes_and_order_the_migrations() {
        let loaded = load(&[
            EmbeddedMigration::new("2026-11-20-120000_second_thing", "select 2"),
            EmbeddedMigration::new("00000000000000_diesel_initial_setup", "select 1"),
        ])
        .unwrap();
        let versions: Vec<_> = loaded
            .iter()
            .map(|m| (m.version.as_str(), m.name.as_str()))
            .collect();
        assert_eq!(
            versions,
            [
                ("00000000000000", "diesel_initial_setup"),
                ("20261120120000", "second_thing")
            ]
        );
    }

    #[test]
    fn two_migrations_of_one_version_are_refused() {
        let error = load(&[
            EmbeddedMigration::new("2026-11-20-000000_a", ""),
            EmbeddedMigration::new("20261120000000_b", ""),
        ])
        .unwrap_err();
        assert!(error.to_string().contains("same version"), "{error}");
    }

    #[test]
    fn metadata_can_take_a_migration_out_of_its_transaction() {
        let loaded = load(&[
            EmbeddedMigration::new("1_a", "select 1").with_metadata("run_in_transaction = false"),
            EmbeddedMigration::new("2_b", "select 1").with_metadata("run_in_transaction = true"),
            EmbeddedMigration::new("3_c", "select 1"),
        ])
        .unwrap();
        assert_eq!(
            loaded
                .iter()
                .map(|m| m.run_in_transaction)
                .collect::<Vec<_>>(),
            [false, true, true]
        );
    }

    #[test]
    fn names_that_are_no_versions_are_refused() {
        for name in [
            "_a",
            "-_a",
            "a b_c",
            "a'; drop table x; --_c",
            &"1".repeat(51),
        ] {
            let error = load(&[EmbeddedMigration::new(name.to_owned(), "")]).unwrap_err();
            assert!(
                matches!(error, MigrateError::Source { .. }),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn a_directory_is_read_as_diesel_reads_it() {
        let root = std::env::temp_dir().join(format!("migrate-source-{}", std::process::id()));
        let migration = root.join("2026-01-02-030405_create_notes");
        std::fs::create_dir_all(&migration).unwrap();
        std::fs::create_dir_all(root.join(".hidden")).unwrap();
        std::fs::write(root.join("README.md"), "not a migration").unwrap();
        std::fs::write(migration.join(UP), "\u{feff}create table notes()").unwrap();

        let loaded = MigrationSource::directory(&root).read();
        std::fs::remove_file(migration.join(UP)).unwrap();
        let without_up = MigrationSource::directory(&root).read();
        std::fs::remove_dir_all(&root).unwrap();
        let gone = MigrationSource::directory(&root).read();

        let loaded = loaded.unwrap();
        assert_eq!(loaded.len(), 1);
        assert_eq!(loaded[0].version, "20260102030405");
        assert_eq!(loaded[0].up, "create table notes()");
        assert_eq!(loaded[0].down, None);
        assert!(
            without_up
                .unwrap_err()
                .to_string()
                .contains("has no up.sql")
        );
        assert!(gone.unwrap_err().to_string().contains("migrate-source"));
    }
}
