//! The environment variables of the process and, below them, the variables of `.env`.

use std::collections::{BTreeMap, BTreeSet};

use crate::dotenv::Assignment;
use crate::error::Problem;
use crate::origin::Origin;

/// The variables of both sources. A variable of the process hides the one of the same name in
/// `.env`, even if it is empty.
///
/// A variable without a readable value is a problem for the setting that asks for it, and for
/// nothing else.
#[derive(Default)]
pub(crate) struct Variables {
    process: BTreeMap<String, String>,
    /// Variables of the process whose values are not UTF-8.
    process_not_utf8: BTreeSet<String>,
    dotenv: BTreeMap<String, Assignment>,
}

/// One variable with its origin.
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: &'a str,
    pub(crate) origin: Origin,
}

impl Variables {
    pub(crate) fn new(
        process: impl IntoIterator<Item = (String, String)>,
        process_not_utf8: impl IntoIterator<Item = String>,
    ) -> Self {
        Variables {
            process: process.into_iter().collect(),
            process_not_utf8: process_not_utf8.into_iter().collect(),
            dotenv: BTreeMap::new(),
        }
    }

    pub(crate) fn process(&self) -> &BTreeMap<String, String> {
        &self.process
    }

    pub(crate) fn add_dotenv(&mut self, assignments: Vec<Assignment>) {
        for assignment in assignments {
            self.dotenv.insert(assignment.name.clone(), assignment);
        }
    }

    /// Finds a variable. An empty one counts as unset, and so does one without a readable value.
    pub(crate) fn find(&self, name: &str) -> Option<Variable<'_>> {
        let variable = match self.process.get_key_value(name) {
            Some((name, value)) => Variable {
                name,
                value,
                origin: Origin::new(name),
            },
            None => of_assignment(self.visible(name)?)?,
        };
        Some(variable).filter(|variable| !variable.value.trim().is_empty())
    }

    /// Says why a variable that is set has no value. Code that reads a variable asks this first.
    pub(crate) fn unreadable(&self, name: &str) -> Option<Problem> {
        if self.process_not_utf8.contains(name) {
            return Some(Problem::new(name, Origin::new(name), "not UTF-8"));
        }
        let assignment = self.visible(name)?;
        let reason = assignment.value.as_ref().err()?;
        let origin = Origin::new(format!(".env:{}", assignment.line));
        Some(Problem::new(name, origin, reason))
    }

    /// The variables without a readable value whose names begin like this.
    pub(crate) fn all_unreadable(&self, prefix: &str) -> impl Iterator<Item = Problem> {
        let of_dotenv = self.dotenv.keys();
        let not_utf8 = &self.process_not_utf8;
        not_utf8
            .iter()
            .chain(of_dotenv.filter(|name| !not_utf8.contains(*name)))
            .filter(move |name| name.starts_with(prefix))
            .filter_map(|name| self.unreadable(name))
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
            .keys()
            .filter_map(|name| of_assignment(self.visible(name)?))
    }

    /// An assignment in `.env`, if no variable of the process hides it.
    fn visible(&self, name: &str) -> Option<&Assignment> {
        let hidden = self.process.contains_key(name) || self.process_not_utf8.contains(name);
        self.dotenv.get(name).filter(|_| !hidden)
    }
}

fn of_assignment(assignment: &Assignment) -> Option<Variable<'_>> {
    Some(Variable {
        name: &assignment.name,
        value: assignment.value.as_ref().ok()?,
        origin: Origin::new(format!("{} in .env:{}", assignment.name, assignment.line)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that is not UTF-8 is a problem only for the setting that reads it, and hides the
    /// value of `.env`.
    #[test]
    fn a_variable_that_is_not_utf8_has_no_value_and_hides_its_namesake() {
        let process = [("A".to_owned(), "1".to_owned())];
        let mut variables = Variables::new(process, ["B".to_owned()]);
        let assignment = |name: &str| Assignment {
            name: name.to_owned(),
            value: Ok("file".to_owned()),
            line: 1,
        };
        variables.add_dotenv(["A", "B", "C"].map(assignment).into());
        let found = |name| variables.find(name).map(|found| found.value.to_owned());
        assert_eq!(found("A").as_deref(), Some("1"));
        assert_eq!(found("B"), None);
        assert_eq!(found("C").as_deref(), Some("file"));
        let problem = variables.unreadable("B").unwrap();
        assert_eq!(problem.to_string(), "B: not UTF-8");
        assert!(variables.unreadable("A").is_none() && variables.unreadable("C").is_none());
        assert_eq!(variables.all_unreadable("").count(), 1);
        assert_eq!(variables.of_dotenv().count(), 1);
    }
}
