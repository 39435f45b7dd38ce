//! The differences of a script on one route.

use serde::Serialize;

use crate::expected::Expected;
use crate::failed::Failed;
use crate::form::Form;
use crate::lane::{Route, Run};
use crate::runs::Runs;
use crate::split::{Statement, Turn};

/// How a script went on one route.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) file: String,
    pub(crate) route: Route,
    pub(crate) form: Form,
    pub(crate) statements: usize,
    pub(crate) same: usize,
    /// Answers that are refused or different as the list says.
    pub(crate) listed: usize,
    /// Answers that stock itself does not give twice.
    pub(crate) unstable: usize,
    pub(crate) different: Vec<Different>,
    pub(crate) seconds: f64,
}

/// An answer that plain diesel-async does not give.
#[derive(Debug, Serialize)]
pub(crate) struct Different {
    pub(crate) line: usize,
    pub(crate) turn: Turn,
    pub(crate) statement: String,
    pub(crate) stock: String,
    pub(crate) ours: String,
}

impl Outcome {
    pub(crate) fn begin(runs: &Runs, route: Route) -> Self {
        Self {
            file: runs.file.name.clone(),
            route,
            form: runs.form,
            statements: runs.statements.len(),
            same: 0,
            listed: 0,
            unstable: 0,
            different: Vec::new(),
            seconds: 0.0,
        }
    }

    /// The script could not be run to its end.
    pub(crate) fn of_none(runs: &Runs, route: Route, failed: &Failed) -> Self {
        let mut outcome = Self::begin(runs, route);
        outcome.different.push(Different {
            line: 0,
            turn: Turn::First,
            statement: "the script as a whole".to_owned(),
            stock: "runs".to_owned(),
            ours: failed.to_string(),
        });
        outcome
    }

    pub(crate) fn note(
        &mut self,
        expected: &Expected,
        statement: &Statement,
        stock: String,
        ours: String,
    ) {
        let way = (self.route, self.form);
        if expected
            .allows(way, &self.file, &statement.sql, (&stock, &ours))
            .is_some()
        {
            self.listed += 1;
            return;
        }
        self.different.push(Different {
            line: statement.line,
            turn: statement.turn,
            statement: statement.sql.clone(),
            stock,
            ours,
        });
    }

    /// Notes the session after the script, and what the next client finds. Behind a pooler the session
    /// belongs to the server connection, and nothing may stay in it.
    pub(crate) fn note_sessions(
        &mut self,
        expected: &Expected,
        runs: &Runs,
        (stock, ours): (&Run, &Run),
    ) {
        let own = match self.route {
            Route::Direct if stock.after.differences(&runs.shaken.after).is_empty() => {
                stock.after.differences(&ours.after)
            }
            _ => Vec::new(),
        };
        for (who, found) in [
            ("the session afterwards", own),
            ("the next borrower", ours.borrowed.clone()),
            ("another client of the pooler", ours.shared.clone()),
            ("the server crashed", ours.crashed.clone()),
        ] {
            for difference in found {
                let statement = Statement {
                    sql: format!("{who}: {difference}"),
                    line: 0,
                    turn: Turn::First,
                };
                self.note(expected, &statement, String::new(), difference);
            }
        }
    }
}
