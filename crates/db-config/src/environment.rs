//! The environment that the process runs in, which is the value of `APP_ENV`.

use std::fmt;
use std::str::FromStr;

use crate::error::{ConfigError, Problem};
use crate::nearest;
use crate::origin::Origin;

/// The environment. It selects the built-in values and `config/<environment>.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Environment {
    /// A developer's machine: `dev`, `development`.
    Dev,
    /// Automated tests: `test`, `testing`, `ci`.
    Test,
    /// A rehearsal of production: `staging`, `stage`, `stg`.
    Staging,
    /// Production: `prod`, `production`, `live`.
    Prod,
    /// Production under heavy load: `high-load`.
    HighLoad,
    /// A function that serves one request at a time and may start cold: `lambda`, `serverless`.
    Lambda,
    /// Any other name. It needs a `config/<name>.toml`, and has the built-in values of `prod`.
    Named(String),
}

impl Environment {
    /// Every built-in environment, in the order of the columns of the built-in table.
    pub const BUILT_IN: [Environment; 6] = [
        Environment::Dev,
        Environment::Test,
        Environment::Staging,
        Environment::Prod,
        Environment::HighLoad,
        Environment::Lambda,
    ];

    /// The name of the environment and of its file in `config/`.
    pub fn name(&self) -> &str {
        match self {
            Environment::Dev => "dev",
            Environment::Test => "test",
            Environment::Staging => "staging",
            Environment::Prod => "prod",
            Environment::HighLoad => "high-load",
            Environment::Lambda => "lambda",
            Environment::Named(name) => name,
        }
    }

    /// Whether the rules of production hold: no `.env`, no `config/local.toml`, no guessed direct URL.
    pub fn is_production(&self) -> bool {
        matches!(
            self,
            Environment::Prod | Environment::HighLoad | Environment::Lambda
        )
    }

    /// The column of the built-in table. A named environment has the column of production.
    pub(crate) fn column(&self) -> usize {
        Self::BUILT_IN
            .iter()
            .position(|environment| environment == self)
            .unwrap_or(PROD_COLUMN)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Environment {
    type Err = ConfigError;

    /// Reads a name or an alias, in upper or lower case.
    ///
    /// A name that is not built in becomes [`Environment::Named`]. Whether its file exists is
    /// checked when the configuration is loaded.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let name = text.trim().to_ascii_lowercase();
        if let Some((_, environment)) = ALIASES.iter().find(|(alias, _)| *alias == name) {
            return Ok(environment.clone());
        }
        let well_formed = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
        if well_formed && !RESERVED.contains(&name.as_str()) {
            return Ok(Environment::Named(name));
        }
        Err(ConfigError::from(unknown(&name, Origin::new("APP_ENV"))))
    }
}

/// The problem with a name that is not built in and has no file.
pub(crate) fn unknown(name: &str, origin: Origin) -> Problem {
    let hint = nearest::suggestion(name, ALIASES.iter().map(|(alias, _)| *alias));
    let file = match RESERVED.contains(&name) {
        true => format!("config/{name}.toml is a layer of every environment"),
        false => "another name needs a config/<name>.toml".to_owned(),
    };
    Problem::new(
        "APP_ENV",
        origin,
        format!(
            "unknown environment {name:?}{hint}; expected dev, test, staging, prod, high-load or \
             lambda ({file})"
        ),
    )
}

const PROD_COLUMN: usize = 3;

/// The names of files in `config/` that belong to every environment.
const RESERVED: [&str; 2] = ["default", "local"];

const ALIASES: [(&str, Environment); 16] = [
    ("dev", Environment::Dev),
    ("development", Environment::Dev),
    ("test", Environment::Test),
    ("testing", Environment::Test),
    ("ci", Environment::Test),
    ("staging", Environment::Staging),
    ("stage", Environment::Staging),
    ("stg", Environment::Staging),
    ("prod", Environment::Prod),
    ("production", Environment::Prod),
    ("live", Environment::Prod),
    ("high-load", Environment::HighLoad),
    ("high_load", Environment::HighLoad),
    ("highload", Environment::HighLoad),
    ("lambda", Environment::Lambda),
    ("serverless", Environment::Lambda),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// case R45: aliases, in upper and lower case.
    #[test]
    fn aliases_name_their_environment_in_any_case() {
        for (alias, expected) in ALIASES {
            assert_eq!(
                alias.to_uppercase().parse::<Environment>().unwrap(),
                expected
            );
            assert_eq!(
                format!(" {alias}\n").parse::<Environment>().unwrap(),
                expected
            );
        }
    }

    /// case R45: an unknown name is never production in disguise.
    #[test]
    fn another_name_is_named_and_not_production() {
        let named: Environment = "Canary-2".parse().unwrap();
        assert_eq!(named, Environment::Named("canary-2".into()));
        assert!(!named.is_production());
        assert_eq!(named.column(), Environment::Prod.column());
    }

    /// case R45: a name cannot leave `config/` nor be the name of a shared layer.
    #[test]
    fn a_name_that_is_a_path_or_a_shared_layer_is_refused() {
        for name in ["../prod", "a b", "", "default", "LOCAL", "x.toml"] {
            let error = name.parse::<Environment>().unwrap_err().to_string();
            assert!(
                error.contains("expected dev, test, staging, prod"),
                "{error}"
            );
        }
    }

    /// case R45: the nearest name is suggested.
    #[test]
    fn the_nearest_name_is_suggested() {
        let problem = unknown("porduction", Origin::new("APP_ENV"));
        assert!(
            problem.message.contains("did you mean `production`"),
            "{problem}"
        );
    }

    #[test]
    fn production_is_prod_high_load_and_lambda() {
        let production: Vec<_> = Environment::BUILT_IN
            .iter()
            .filter(|e| e.is_production())
            .map(Environment::name)
            .collect();
        assert_eq!(production, ["prod", "high-load", "lambda"]);
    }
}
