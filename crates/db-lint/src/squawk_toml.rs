//! `.squawk.toml`, which many repositories have already.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use glob::Pattern;
use serde::Deserialize;
use squawk_linter::Version;

use crate::error::LintError;
use crate::rules::{self, Rule};

/// Which rules and paths are looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct SquawkToml {
    pub(crate) excluded: Vec<&'static Rule>,
    pub(crate) included: Vec<&'static Rule>,
    excluded_paths: Vec<Pattern>,
    pub(crate) pg_version: Option<Version>,
}

/// Other keys, for example for squawk's GitHub app, are ignored.
#[derive(Deserialize)]
struct Keys {
    #[serde(default)]
    excluded_rules: Vec<String>,
    #[serde(default)]
    included_rules: Vec<String>,
    #[serde(default)]
    excluded_paths: Vec<String>,
    pg_version: Option<String>,
}

impl SquawkToml {
    /// Reads the nearest file at or above `directory`, if there is one.
    pub(crate) fn find(directory: &Path) -> Result<Self, LintError> {
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        for ancestor in directory.ancestors() {
            let path = ancestor.join(".squawk.toml");
            match std::fs::read_to_string(&path) {
                Ok(text) => return Self::parse(path, &text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(LintError::Unreadable { path, source }),
            }
        }
        Ok(Self::default())
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self, LintError> {
        let problem = |problem: String| LintError::NotUnderstood {
            path: path.clone(),
            problem,
        };
        let keys: Keys =
            toml::from_str(text).map_err(|error| problem(error.message().to_owned()))?;
        let rules = |names: &[String]| {
            names
                .iter()
                .map(|name| rules::find(name))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|unknown| problem(unknown.to_string()))
        };
        let version = |text: &String| {
            Version::from_str(text).map_err(|_| problem(format!("pg_version {text} is no version")))
        };
        let patterns = keys.excluded_paths.iter().map(|text| {
            Pattern::new(text).map_err(|error| problem(format!("excluded_paths {text}: {error}")))
        });
        Ok(Self {
            excluded: rules(&keys.excluded_rules)?,
            included: rules(&keys.included_rules)?,
            excluded_paths: patterns.collect::<Result<_, _>>()?,
            pg_version: keys.pg_version.as_ref().map(version).transpose()?,
        })
    }

    pub(crate) fn excludes_path(&self, path: &Path) -> bool {
        self.excluded_paths
            .iter()
            .any(|pattern| pattern.matches_path(path))
    }

    pub(crate) fn excludes(&self, rule: &str) -> bool {
        self.excluded.iter().any(|excluded| excluded.code == rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_paths_and_version_are_read_and_a_misspelt_rule_names_the_nearest() {
        let text = "excluded_rules = [\"ban-drop-column\"]\nexcluded_paths = [\"migrations/1_*/up.sql\"]\n\
                    pg_version = \"15.2\"\nassume_in_transaction = true\n[upload_to_github]\nfail_on_violations = true";
        let read = SquawkToml::parse(PathBuf::from(".squawk.toml"), text).unwrap();
        assert!(read.excludes("ban-drop-column") && !read.excludes("ban-drop-table"));
        assert!(read.excludes_path(Path::new("migrations/1_a/up.sql")));
        assert!(!read.excludes_path(Path::new("migrations/2_a/up.sql")));
        assert!(read.pg_version.is_some());
        let wrong = SquawkToml::parse(
            PathBuf::from(".squawk.toml"),
            "excluded_rules = [\"ban-drop-colum\"]",
        );
        assert!(
            wrong
                .unwrap_err()
                .to_string()
                .contains("did you mean `ban-drop-column`?")
        );
    }
}
