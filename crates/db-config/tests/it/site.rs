//! A working directory of its own, with the files and variables of one test.

use std::path::Path;

use db_config::{Config, ConfigError, Explained};

/// A temporary working directory.
pub(crate) struct Site(tempfile::TempDir);

impl Site {
    pub(crate) fn new() -> Self {
        Site(tempfile::tempdir().unwrap())
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn load(&self, vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load_from(self.path(), vars)
    }

    /// The text of the error that loading must end with.
    pub(crate) fn error(&self, vars: &[(&str, &str)]) -> String {
        match self.load(vars) {
            Ok(config) => panic!("loaded: {config:?}"),
            Err(error) => error.to_string(),
        }
    }
}

/// What `explain` says about a key.
pub(crate) fn explained(config: &Config, key: &str) -> Explained {
    config
        .explain()
        .find(|explained| explained.key == key)
        .unwrap_or_else(|| panic!("{key} is not explained"))
}

/// Value and origin of a key.
pub(crate) fn value(config: &Config, key: &str) -> (String, String) {
    let explained = explained(config, key);
    (explained.value, explained.origin.to_string())
}

pub(crate) const LOCAL: (&str, &str) = ("DATABASE_URL", "postgres://u:p@localhost/d");
