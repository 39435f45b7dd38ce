//! One key of the configuration, and the variable that sets it.

use super::key_kind::KeyKind;
use crate::environment::Environment;

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Key {
    /// The path below `database`. `profile.max` also stands for `pools.<name>.max`.
    pub path: &'static str,
    /// Which values are allowed.
    pub kind: KeyKind,
    /// The value in each environment if nothing sets the key.
    pub built_in: BuiltIn,
    /// What the key is for. Empty for a quantity, since the next two fields say it.
    pub purpose: &'static str,
    /// What goes wrong if the quantity is too high. Empty for any other key.
    pub too_high: &'static str,
    /// What goes wrong if the quantity is too low. Empty for any other key.
    pub too_low: &'static str,
}

impl Key {
    /// The built-in value in an environment, written as in a file but without quotes.
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
    /// The key has no value unless something sets it.
    Unset,
    /// The same value in every environment.
    Same(&'static str),
    /// One value for `prod` and another for the rest.
    Prod {
        /// The value in `prod` and in named environments.
        prod: &'static str,
        /// The value in every other environment.
        other: &'static str,
    },
    /// One value per environment, in the order of [`Environment::BUILT_IN`].
    Each([&'static str; 6]),
}

/// The prefix of the variables that set keys.
pub(crate) const PREFIX: &str = "APP_DB__";

/// The variable that sets a path: `APP_DB__POOLS__WRITE__MAX` for `pools.write.max`.
pub(crate) fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_ascii_uppercase())
}
