//! One script, run by all parties, and the differences.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use app_db::PoolProfile;
use futures_util::future::try_join_all;
use tokio::task::JoinHandle;

use crate::answer::Answer;
use crate::corpus::File;
use crate::expected::Expected;
use crate::failed::Failed;
use crate::form::Form;
use crate::lane::{Lane, Party, Route, Run};
use crate::outcome::Outcome;
use crate::runs::Runs;
use crate::split::{Statement, Turn};

/// A server for each party.
pub(crate) struct Lanes {
    stock: Arc<Lane>,
    shaken: Arc<Lane>,
    /// Runs a script again if an answer has to be confirmed.
    spare: Arc<Lane>,
    ours: BTreeMap<Route, Arc<Lane>>,
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

    /// Compares the results. Stock runs the script again if that is needed.
    pub(crate) async fn judge(
        &self,
        runs: Runs,
        expected: &Expected,
    ) -> Result<Vec<Outcome>, Failed> {
        let mut outcomes = Vec::new();
        let mut spare = Spare::new(&self.spare, &runs.statements);
        for (route, ours) in &runs.ours {
            outcomes.push(match ours {
                Ok(ours) => judge_one(&runs, (*route, ours), &mut spare, expected).await?,
                Err(failed) => Outcome::of_none(&runs, *route, failed),
            });
        }
        Ok(outcomes)
    }
}

async fn judge_one(
    runs: &Runs,
    (route, ours): (Route, &Run),
    spare: &mut Spare,
    expected: &Expected,
) -> Result<Outcome, Failed> {
    let form = runs.form;
    let answers = (&*ours.answers, &*runs.stock.answers);
    let refused = expected.refusals(route, &runs.statements, answers);
    let without = match refused.is_empty() {
        true => None,
        false => Some(spare.run(form, &refused, Turn::First).await?),
    };
    let stock = without.as_deref().unwrap_or(&runs.stock);
    let mut unstable = unlike(&runs.stock.answers, &runs.shaken.answers);
    let mut differ = unlike(&stock.answers, &ours.answers);
    differ.retain(|place| !unstable.contains(place) && !refused.contains(place));
    if !differ.is_empty() {
        let again = spare.run(form, &refused, Turn::Again).await?;
        unstable.extend(unlike(&stock.answers, &again.answers));
        if form == Form::Cached {
            // diesel's cached statements become outdated. Our answer may be right where stock's is
            // not.
            let uncached = spare.run(Form::Extended, &refused, Turn::First).await?;
            let wrong = unlike(&uncached.answers, &ours.answers);
            differ.retain(|place| wrong.contains(place));
        }
    }
    let mut outcome = Outcome::begin(runs, route);
    outcome.listed = refused.len();
    outcome.seconds = (ours.took.as_secs_f64() * 100.0).round() / 100.0;
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

/// Stock on another server. It runs once for each question about a script.
struct Spare {
    lane: Arc<Lane>,
    statements: Arc<Vec<Statement>>,
    runs: BTreeMap<(Form, BTreeSet<usize>, Turn), Arc<Run>>,
}

impl Spare {
    fn new(lane: &Arc<Lane>, statements: &Arc<Vec<Statement>>) -> Self {
        Self {
            lane: Arc::clone(lane),
            statements: Arc::clone(statements),
            runs: BTreeMap::new(),
        }
    }

    async fn run(
        &mut self,
        form: Form,
        refused: &BTreeSet<usize>,
        turn: Turn,
    ) -> Result<Arc<Run>, Failed> {
        let question = (form, refused.clone(), turn);
        if let Some(run) = self.runs.get(&question) {
            return Ok(Arc::clone(run));
        }
        let run = running(&self.lane, form, &self.statements, refused.clone());
        let run = Arc::new(run.await??);
        self.runs.insert(question, Arc::clone(&run));
        Ok(run)
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
