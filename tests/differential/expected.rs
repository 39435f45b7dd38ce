//! The intended differences, each with its reason.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde::Deserialize;

use crate::answer::{Answer, Failure};
use crate::failed::Failed;
use crate::form::Form;
use crate::lane::Route;
use crate::split::Statement;

/// The list of the repository.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// Files that are not run.
    left_out: Vec<LeftOut>,
    /// Our refusals.
    refused: Vec<Refusal>,
    /// Answers that differ.
    differs: Vec<Difference>,
    #[serde(skip)]
    used: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    file: String,
    reason: String,
}

/// A statement that cannot run on a way. Plain diesel-async does not run it either.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    routes: Vec<String>,
    sqlstate: String,
    /// A part of the message.
    message: String,
    /// The statement has one of these, in lower case.
    statements: Vec<String>,
    reason: String,
}

/// An answer that may differ.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    #[serde(default)]
    routes: Vec<String>,
    #[serde(default)]
    forms: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    /// A part of the statement, or of the name of a setting.
    #[serde(default)]
    statement: String,
    /// A part of plain diesel-async's answer.
    #[serde(default)]
    stock: String,
    /// A part of our answer.
    #[serde(default)]
    ours: String,
    reason: String,
}

impl Expected {
    pub(crate) fn load() -> Result<Self, Failed> {
        let expected: Self = toml::from_str(include_str!("expected.toml"))?;
        for reason in expected.reasons() {
            if reason.trim().is_empty() {
                return Err(Failed::new("expected.toml has an entry without a reason"));
            }
        }
        Ok(expected)
    }

    fn reasons(&self) -> impl Iterator<Item = &str> {
        let left_out = self.left_out.iter().map(|entry| entry.reason.as_str());
        let refused = self.refused.iter().map(|entry| entry.reason.as_str());
        let differs = self.differs.iter().map(|entry| entry.reason.as_str());
        left_out.chain(refused).chain(differs)
    }

    /// Why a file is not run.
    pub(crate) fn leaves_out(&self, file: &str) -> Option<&str> {
        let entry = self.left_out.iter().find(|entry| entry.file == file)?;
        Some(self.note(&entry.reason))
    }

    /// Why ours refuses a statement.
    fn refuses(&self, route: Route, statement: &str, failure: &Failure) -> Option<&str> {
        let statement = statement.to_lowercase();
        let code = failure.sqlstate.as_deref()?;
        let entry = self.refused.iter().find(|entry| {
            is_any(&entry.routes, route.name())
                && entry.sqlstate == code
                && failure.message.contains(&entry.message)
                && entry.statements.iter().any(|part| statement.contains(part))
        })?;
        Some(self.note(&entry.reason))
    }

    /// Why an answer may differ.
    pub(crate) fn allows(
        &self,
        (route, form): (Route, Form),
        file: &str,
        statement: &str,
        (stock, ours): (&str, &str),
    ) -> Option<&str> {
        let entry = self.differs.iter().find(|entry| {
            is_any(&entry.routes, route.name())
                && is_any(&entry.forms, form.name())
                && is_any(&entry.files, file)
                && statement.contains(&entry.statement)
                && stock.contains(&entry.stock)
                && ours.contains(&entry.ours)
        })?;
        Some(self.note(&entry.reason))
    }

    fn note<'e>(&self, reason: &'e str) -> &'e str {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(reason.to_owned());
        reason
    }

    /// Entries that no script needed.
    pub(crate) fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = self.reasons().filter(|reason| !used.contains(*reason));
        unused.map(str::to_owned).collect()
    }

    /// The statements that only ours refuses, according to the list.
    pub(crate) fn refusals(
        &self,
        route: Route,
        statements: &[Statement],
        (ours, stock): (&[Answer], &[Answer]),
    ) -> BTreeSet<usize> {
        let pairs = ours.iter().zip(stock).enumerate();
        let refused = pairs.filter(|(place, (ours, stock))| {
            let failure = ours.failure().filter(|_| !ours.is_like(stock));
            let sql = &statements[*place].sql;
            failure.is_some_and(|failure| self.refuses(route, sql, failure).is_some())
        });
        refused.map(|(place, _)| place).collect()
    }
}

/// An empty list matches everything.
fn is_any(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|one| one == name)
}
