//! What is wrong with the configuration. Each problem has its key, its origin and what was expected.

use std::fmt;

use crate::origin::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The key or the variable: `database.pools.write.max`, `DATABASE_URL`.
    pub key: String,
    /// Where the wrong value was found.
    pub origin: Origin,
    /// What was found and what was expected, without secrets.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(key: impl Into<String>, origin: Origin, message: impl Into<String>) -> Self {
        Problem {
            key: key.into(),
            origin,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            key,
            origin,
            message,
        } = self;
        match origin.as_str() == key {
            true => write!(f, "{key}: {message}"),
            false => write!(f, "{key} ({origin}): {message}"),
        }
    }
}

/// Every problem found in the configuration, one per line.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// The same text as `Display`, because `main` prints an error that it returns with `Debug`.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ConfigError {
    /// The problems, in the order in which the layers were read. There is at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns an error if there is any problem.
    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::of(problems)),
        }
    }

    /// The error of at least one problem.
    pub(crate) fn of(problems: Vec<Problem>) -> Self {
        ConfigError { problems }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        ConfigError {
            problems: vec![problem],
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    match problems {
        [problem] => problem.to_string(),
        problems => {
            let lines: Vec<_> = problems.iter().map(|p| format!("  {p}")).collect();
            format!(
                "{} problems in the configuration:\n{}",
                problems.len(),
                lines.join("\n")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_its_line_with_key_and_origin() {
        let one = Problem::new(
            "database.retry.attempts",
            Origin::new("config/dev.toml:3"),
            "a",
        );
        let two = Problem::new("APP_ENV", Origin::new("APP_ENV"), "b");
        assert_eq!(
            ConfigError::from(one.clone()).to_string(),
            "database.retry.attempts (config/dev.toml:3): a"
        );
        let both = ConfigError::check(vec![one, two]).unwrap_err();
        assert_eq!(
            both.to_string(),
            "2 problems in the configuration:\n  database.retry.attempts (config/dev.toml:3): a\n  \
             APP_ENV: b"
        );
        assert_eq!(both.problems().len(), 2);
    }
}
