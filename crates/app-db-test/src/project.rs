//! The tested project: its migrations and its configuration.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use app_db::db_config::ExposeSecret;
use app_db::{Config, ConfigError, Endpoint, MigrationSource, SecretString};

use crate::error::{Doing, TestDatabaseError};

#[derive(Debug)]
pub(crate) struct Project {
    /// The folder with `config/` and `.env`.
    root: PathBuf,
    migrations: PathBuf,
}

impl Project {
    /// Finds the project from the crate that cargo tests, or else from the working directory,
    /// upwards.
    pub(crate) fn nearest() -> Result<Self, TestDatabaseError> {
        let from = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(tested) => PathBuf::from(tested),
            None => env::current_dir().doing(|| "asking for the working directory".to_owned())?,
        };
        let found = from
            .ancestors()
            .map(|folder| folder.join(MIGRATIONS))
            .find(|folder| folder.is_dir());
        match found {
            Some(migrations) => Self::of(&migrations),
            None => Err(TestDatabaseError::NoMigrations { from }),
        }
    }

    pub(crate) fn of(migrations: &Path) -> Result<Self, TestDatabaseError> {
        let absolute = migrations.canonicalize();
        let migrations = absolute.doing(|| format!("looking at {}", migrations.display()))?;
        let root = migrations.parent().unwrap_or(&migrations).to_owned();
        Ok(Self { root, migrations })
    }

    pub(crate) fn migrations(&self) -> &Path {
        &self.migrations
    }

    pub(crate) fn source(&self) -> MigrationSource {
        MigrationSource::directory(&self.migrations)
    }

    /// The present content of the migrations, as a hash of 16 digits.
    pub(crate) fn state(&self) -> Result<String, TestDatabaseError> {
        let mut files = BTreeMap::new();
        read(&self.migrations, &mut files)
            .doing(|| format!("reading {}", self.migrations.display()))?;
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        Ok(format!("{:016x}", hasher.finish()))
    }

    /// The server that the project's own configuration names, if it names one.
    pub(crate) fn endpoint(&self) -> Result<Option<Endpoint>, TestDatabaseError> {
        let variables = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let config = self.load(variables.filter(|(name, _)| name != ENVIRONMENT))?;
        match (config.direct_url(), config.pooled_url()) {
            (Ok(url), _) => Ok(Some(url.endpoint().clone())),
            (Err(_), Err(error)) if is_about_nothing_set(&error) => Ok(None),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The project's settings for a test, with only this database.
    #[expect(clippy::disallowed_methods, reason = "the URL of a database for tests")]
    pub(crate) fn config(&self, endpoint: &Endpoint) -> Result<Config, TestDatabaseError> {
        let url: SecretString = endpoint.to_url();
        let url = url.expose_secret().to_owned();
        let none = ("DATABASE_URL_REPLICA".to_owned(), String::new());
        self.load([
            ("DATABASE_URL".to_owned(), url.clone()),
            ("DATABASE_URL_DIRECT".to_owned(), url),
            none,
        ])
    }

    fn load(
        &self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, TestDatabaseError> {
        let test = (ENVIRONMENT.to_owned(), "test".to_owned());
        let variables = variables.into_iter().chain([test]);
        Ok(Config::load_from(&self.root, variables)?)
    }
}

/// Whether no URL was given at all, rather than a wrong one.
fn is_about_nothing_set(error: &ConfigError) -> bool {
    error
        .problems()
        .iter()
        .all(|problem| problem.message.starts_with("not set"))
}

/// Reads every file below a folder, by its path.
fn read(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, files)?;
        } else {
            let content = fs::read(&path)?;
            files.insert(path, content);
        }
    }
    Ok(())
}

const MIGRATIONS: &str = "migrations";
const ENVIRONMENT: &str = "APP_ENV";
