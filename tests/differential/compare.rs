//! One script, run by all parties, and what of it differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use app_db::PoolProfile;
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::corpus::File;
use crate::expected::Expected;
use crate::failed::Failed;
use crate::form::Form;
use crate::lane::{Lane, Party, Route, Run};
use crate::split::{Statement, Turn};

/// A server for each party.
pub(crate) struct Lanes {
    stock: Arc<Lane>,
    shaken: Arc<Lane>,
    /// Runs a script again where an answer has to be confirmed.
    spare: Arc<Lane>,
    ours: BTreeMap<Route, Arc<Lane>>,
}

/// What all parties made of a script.
pub(crate) struct Runs {
    form: Form,
    file: Arc<File>,
    statements: Arc<Vec<Statement>>,
    stock: Run,
    shaken: Run,
    /// What ours could not even be asked is a difference of its own.
    ours: BTreeMap<Route, Result<Run, Failed>>,
}

/// How a script went on one route.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) file: String,
    pub(crate) route: Route,
    pub(crate) form: Form,
    pub(crate) statements: usize,
    pub(crate) same: usize,
    /// Refused as the list says, or different as it says.
    pub(crate) listed: usize,
    /// Stock itself does not give the answer twice.
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

impl Lanes {
    pub(crate) async fn start(routes: &[Route], profile: &PoolProfile) -> Result<Self, Failed> {
        let parties = [Party::Stock, Party::Shaken, Party::Stock];
        let parties = parties
            .into_iter()
            .chain(routes.iter().copied().map(Party::Ours));
        let starting = parties.map(|party| Lane::start(party, profile.clone()));
        let mut lanes = try_join_all(starting).await?.into_iter().map(Arc::new);
        let mut next = || {
            lanes
                .next()
                .ok_or_else(|| Failed::new("a server is missing"))
        };
        let (stock, shaken, spare) = (next()?, next()?, next()?);
        let ours = routes.iter().copied().zip(lanes).collect();
        Ok(Self {
            stock,
            shaken,
            spare,
            ours,
        })
    }

    /// Runs a script by all parties at once.
    pub(crate) async fn run(&self, file: Arc<File>, form: Form) -> Result<Runs, Failed> {
        let statements = Arc::new(file.statements(form));
        let start = |lane: &Arc<Lane>| running(lane, form, &statements, BTreeSet::new());
        let (stock, shaken) = (start(&self.stock), start(&self.shaken));
        let ours: Vec<_> = self
            .ours
            .iter()
            .map(|(route, lane)| (*route, start(lane)))
            .collect();
        let (stock, shaken) = (stock.await??, shaken.await??);
        let mut runs = BTreeMap::new();
        for (route, run) in ours {
            runs.insert(route, run.await?);
        }
        Ok(Runs {
            form,
            file,
            statements,
            stock,
            shaken,
            ours: runs,
        })
    }

    /// Compares what came of it; stock is asked again where that is needed.
    pub(crate) async fn judge(
        &self,
        runs: Runs,
        expected: &Expected,
    ) -> Result<Vec<Outcome>, Failed> {
        let mut outcomes = Vec::new();
        for (route, ours) in &runs.ours {
            outcomes.push(match ours {
                Ok(ours) => self.judge_one(&runs, (*route, ours), expected).await?,
                Err(failed) => Outcome::of_none(&runs, *route, failed),
            });
        }
        Ok(outcomes)
    }

    async fn judge_one(
        &self,
        runs: &Runs,
        (route, ours): (Route, &Run),
        expected: &Expected,
    ) -> Result<Outcome, Failed> {
        let refused = expected.refusals(
            route,
            &runs.statements,
            (&ours.answers, &runs.stock.answers),
        );
        let again = async |form| -> Result<Run, Failed> {
            running(&self.spare, form, &runs.statements, refused.clone()).await?
        };
        let without = match refused.is_empty() {
            true => None,
            false => Some(again(runs.form).await?),
        };
        let stock = without.as_ref().unwrap_or(&runs.stock);
        let mut unstable = unlike(&runs.stock.answers, &runs.shaken.answers);
        let mut differ = unlike(&stock.answers, &ours.answers);
        differ.retain(|place| !unstable.contains(place) && !refused.contains(place));
        if !differ.is_empty() {
            unstable.extend(unlike(&stock.answers, &again(runs.form).await?.answers));
            if runs.form == Form::Cached {
                // What diesel keeps grows old. Ours may be right where it is not.
                let uncached = again(Form::Extended).await?;
                let wrong = unlike(&uncached.answers, &ours.answers);
                differ.retain(|place| wrong.contains(place));
            }
        }
        let mut outcome = Outcome::begin(runs, route);
        outcome.listed = refused.len();
        outcome.seconds = rounded(ours.took);
        for (place, statement) in runs.statements.iter().enumerate() {
            if refused.contains(&place) {
            } else if unstable.contains(&place) {
                outcome.unstable += 1;
            } else if differ.contains(&place) {
                let (stock, ours) = (&stock.answers[place], &ours.answers[place]);
                outcome.note(expected, statement, stock.shown(), ours.shown());
            } else {
                outcome.same += 1;
            }
        }
        outcome.note_sessions(expected, runs, (stock, ours));
        Ok(outcome)
    }
}

impl Outcome {
    fn begin(runs: &Runs, route: Route) -> Self {
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
    fn of_none(runs: &Runs, route: Route, failed: &Failed) -> Self {
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

    fn note(&mut self, expected: &Expected, statement: &Statement, stock: String, ours: String) {
        let way = (self.route, self.form);
        if expected
            .allows(way, &self.file, &statement.sql, &ours)
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

    /// The session behind the script, and what whoever comes next finds. Behind a pooler the session is the
    /// server connection's, on which nothing is to stay.
    fn note_sessions(&mut self, expected: &Expected, runs: &Runs, (stock, ours): (&Run, &Run)) {
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

fn running(
    lane: &Arc<Lane>,
    form: Form,
    statements: &Arc<Vec<Statement>>,
    refused: BTreeSet<usize>,
) -> JoinHandle<Result<Run, Failed>> {
    let (lane, statements) = (Arc::clone(lane), Arc::clone(statements));
    tokio::spawn(async move {
        let run = lane.run(form, &statements, &refused).await;
        run.map_err(|failed| failed.during(format_args!("{:?}", lane.party())))
    })
}

fn unlike(one: &[Answer], other: &[Answer]) -> BTreeSet<usize> {
    let pairs = one.iter().zip(other).enumerate();
    let unlike = pairs.filter(|(_, (one, other))| !one.is_like(other));
    unlike.map(|(place, _)| place).collect()
}

fn rounded(took: Duration) -> f64 {
    (took.as_secs_f64() * 100.0).round() / 100.0
}
