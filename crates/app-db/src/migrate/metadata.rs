//! What `metadata.toml` says about a migration.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::migrate::error::MigrateError;

/// Whether a migration runs before or after a deploy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Before the new code starts; the old code works with it.
    Expand,
    /// After the old code is gone, because the old code would not work with it.
    Contract,
}

impl Phase {
    /// The name of the phase in `metadata.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Contract => "contract",
        }
    }
}

impl FromStr for Phase {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "expand" => Ok(Self::Expand),
            "contract" => Ok(Self::Contract),
            _ => Err("expected `expand` or `contract`"),
        }
    }
}

/// The file, read and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) run_in_transaction: bool,
    pub(super) phase: Option<Phase>,
    pub(super) limits: OwnLimits,
}

/// A migration's own limits, which replace the configured ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnLimits {
    pub(super) lock_timeout: Option<Limit>,
    pub(super) statement_timeout: Option<Limit>,
}

/// A time limit. `None` inside means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Limit(
    #[serde(with = "db_config::duration::optional")] pub(super) Option<Duration>,
);

/// The keys of the file. diesel reads `run_in_transaction` and skips every other key, so our own table is
/// safe.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    run_in_transaction: Option<bool>,
    #[serde(default)]
    dbctl: OwnKeys,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnKeys {
    phase: Option<Phase>,
    lock_timeout: Option<Limit>,
    statement_timeout: Option<Limit>,
}

impl Metadata {
    /// Reads the text of the file, or takes diesel's default if there is no file.
    ///
    /// diesel ignores a file that it cannot parse, and then runs the migration in a transaction after all.
    /// It takes a missing key for `false`. Here both are errors, so that a folder means the same to both
    /// tools.
    pub(super) fn parse(path: &Path, text: Option<&str>) -> Result<Self, MigrateError> {
        let Some(text) = text else {
            return Ok(Self {
                run_in_transaction: true,
                phase: None,
                limits: OwnLimits::default(),
            });
        };
        let keys: Keys = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            MigrateError::source(path, format!("line {line}: {}", error.message()))
        })?;
        let run_in_transaction = keys.run_in_transaction.ok_or_else(|| {
            MigrateError::source(
                path,
                "does not say `run_in_transaction = true` or `run_in_transaction = false`: write the \
                 line, because diesel takes a file without it for `false`",
            )
        })?;
        let OwnKeys {
            phase,
            lock_timeout,
            statement_timeout,
        } = keys.dbctl;
        Ok(Self {
            run_in_transaction,
            phase,
            limits: OwnLimits {
                lock_timeout,
                statement_timeout,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Metadata, String> {
        Metadata::parse(Path::new("1_a/metadata.toml"), Some(text)).map_err(|e| e.to_string())
    }

    /// case F14
    #[test]
    fn a_file_that_does_not_parse_is_named_with_its_line() {
        for text in [
            "\nrun_in_transaction = nope",
            "\nrun_in_transactions = false",
            "run_in_transaction = true\n[dbctl]\nphrase = \"expand\"",
            "run_in_transaction = true\n[dbctl]\nphase = \"expandd\"",
            "run_in_transaction = true\n[dbctl]\nlock_timeout = 5",
            "run_in_transaction = true\n[other]\nphase = \"expand\"",
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.starts_with("1_a/metadata.toml line "), "{problem}");
            assert!(!problem.contains("line 1:"), "{problem}");
        }
    }

    /// diesel takes such a file for `false`.
    #[test]
    fn a_file_without_the_key_is_refused_with_the_line_to_write() {
        for text in [
            "",
            "\n",
            "# run_in_transaction = true",
            "[dbctl]\nphase = \"expand\"",
        ] {
            let problem = parse(text).unwrap_err();
            assert!(
                problem.contains("`run_in_transaction = true`"),
                "{text}: {problem}"
            );
        }
    }

    #[test]
    fn our_own_table_has_a_phase_and_limits() {
        let text = "run_in_transaction = false\n[dbctl]\nphase = \"contract\"\n\
                    lock_timeout = \"500ms\"\nstatement_timeout = \"0s\"";
        let metadata = parse(text).unwrap();
        assert_eq!(metadata.phase, Some(Phase::Contract));
        let limits = metadata.limits;
        let half_a_second = Some(Duration::from_millis(500));
        assert_eq!(limits.lock_timeout, Some(Limit(half_a_second)));
        assert_eq!(limits.statement_timeout, Some(Limit(None)));
        let without = parse("run_in_transaction = true").unwrap();
        assert_eq!(without.limits, OwnLimits::default());
    }
}
