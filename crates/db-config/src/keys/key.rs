//! A key of the configuration.

use super::key_kind::KeyKind;
use crate::environment::Environment;

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Key {
    /// The path below `database`; `profile.max` stands for `pools.<name>.max` too.
    pub path: &'static str,
    /// What the value has to look like.
    pub kind: KeyKind,
    /// The value of each environment when nothing sets the key.
    pub built_in: BuiltIn,
    /// What the key is for; empty for a quantity, whose next two fields say it.
    pub purpose: &'static str,
    /// What goes wrong when a quantity is too high; empty for any other key.
    pub too_high: &'static str,
    /// What goes wrong when a quantity is too low; empty for any other key.
    pub too_low: &'static str,
}

impl Key {
    /// The built-in value of an environment, as it would be written in a file without quotes.
    pub fn built_in(&self, environment: &Environment) -> Option<&'static str> {
        match self.built_in {
            BuiltIn::Unset => None,
            BuiltIn::Same(value) => Some(value),
            BuiltIn::Prod { prod, other } => match environment {
                Environment::Prod | Environment::Named(_) => Some(prod),
                _ => Some(other),
            },
            BuiltIn::Each(values) => values.get(environment.column()).copied(),
        }
    }

    /// The variable that sets the key.
    pub fn variable(&self) -> String {
        variable(self.path)
    }
}

/// The built-in values of a key.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BuiltIn {
    /// None: the key has no value unless something sets it.
    Unset,
    /// The same everywhere.
    Same(&'static str),
    /// One value for `prod`, another for the rest.
    Prod {
        /// The value of `prod` and of named environments.
        prod: &'static str,
        /// The value of every other environment.
        other: &'static str,
    },
    /// One per environment, in the order of [`Environment::BUILT_IN`].
    Each([&'static str; 6]),
}

/// The prefix of the variables that set keys.
pub(crate) const PREFIX: &str = "APP_DB__";

/// The variable of a path: `APP_DB__POOLS__WRITE__MAX` of `pools.write.max`.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}
