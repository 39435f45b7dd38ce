//! The environment variables of the process and, below them, the variables of `.env`.

use std::collections::BTreeMap;

use crate::dotenv::Assignment;
use crate::origin::Origin;

/// The variables of both sources. One of the process hides its namesake in `.env`, even if empty.
#[derive(Default)]
pub(crate) struct Variables {
    process: BTreeMap<String, String>,
    dotenv: BTreeMap<String, (String, usize)>,
}

/// One variable with its origin.
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) origin: Origin,
}

impl Variables {
    pub(crate) fn new(process: impl IntoIterator<Item = (String, String)>) -> Self {
        Variables {
            process: process.into_iter().collect(),
            dotenv: BTreeMap::new(),
        }
    }

    pub(crate) fn add_dotenv(&mut self, lines: Vec<Assignment>) {
        for Assignment { name, value, line } in lines {
            self.dotenv.insert(name, (value, line));
        }
    }

    /// Finds a variable. An empty one counts as unset.
    pub(crate) fn find(&self, name: &str) -> Option<Variable<'_>> {
        let variable = match self.process.get_key_value(name) {
            Some((name, value)) => Variable {
                name,
                value,
                origin: Origin::new(name),
            },
            None => {
                let (name, (value, line)) = self.dotenv.get_key_value(name)?;
                Variable {
                    name,
                    value,
                    origin: in_dotenv(name, *line),
                }
            }
        };
        Some(variable).filter(|variable| !variable.value.trim().is_empty())
    }

    pub(crate) fn of_process(&self) -> impl Iterator<Item = Variable<'_>> {
        self.process.iter().map(|(name, value)| Variable {
            name,
            value,
            origin: Origin::new(name),
        })
    }

    /// The variables of `.env` that the process does not set.
    pub(crate) fn of_dotenv(&self) -> impl Iterator<Item = Variable<'_>> {
        self.dotenv
            .iter()
            .filter(|(name, _)| !self.process.contains_key(*name))
            .map(|(name, (value, line))| Variable {
                name,
                value,
                origin: in_dotenv(name, *line),
            })
    }
}

fn in_dotenv(name: &str, line: usize) -> Origin {
    Origin::new(format!("{name} in .env:{line}"))
}
