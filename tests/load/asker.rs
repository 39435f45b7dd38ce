//! One connection's worth of questions.

use std::time::Duration;

use app_db::{Database, Error};
use diesel::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::questions::{Facts, Question, Setting};
use crate::tally::Tally;

/// Over what the questions are asked.
pub(crate) enum Way {
    /// Our helpers, with a pool that others ask on too.
    Ours(Database),
    /// A connection of diesel-async's own.
    Stock(Box<AsyncPgConnection>),
}

/// Asks one question after the other about a row of its own.
pub(crate) struct Asker {
    facts: Facts,
    way: Way,
    tally: Tally,
}

impl Asker {
    pub(crate) fn new(process: i32, task: i32, way: Way) -> Self {
        let facts = Facts {
            process,
            me: process * 100 + task,
            n: 0,
            balance: 0,
            counted: 0,
        };
        Self {
            facts,
            way,
            tally: Tally::default(),
        }
    }

    /// Asks `questions` questions, in an order that belongs to this row and is always the same.
    pub(crate) async fn ask(mut self, questions: i32) -> Tally {
        let seed = u64::from(self.facts.me.unsigned_abs());
        let mut random = fastrand::Rng::with_seed(seed);
        for n in 0..questions {
            self.facts.n = n;
            let (mut question, mut setting) = Question::ALL[random.usize(..Question::ALL.len())];
            // A cancelled question costs a connection.
            if question == Question::Cancelled && random.u8(..4) > 0 {
                (question, setting) = (Question::ByKey, Setting::Plain);
            }
            if question == Question::Cancelled && matches!(self.way, Way::Stock(_)) {
                continue;
            }
            let (expected, after) = question.expected(&self.facts);
            let name = format!("{question:?} {setting:?} {n}");
            match self.way.put(question, setting, self.facts).await {
                Ok(answer) => {
                    self.tally.answered(&name, &answer, &expected);
                    self.facts = after;
                }
                Err(error) => self.tally.failed(&name, &error),
            }
        }
        let (expected, _) = Question::ByKey.expected(&self.facts);
        match self
            .way
            .put(Question::ByKey, Setting::Write, self.facts)
            .await
        {
            Ok(answer) => self.tally.answered("the books", &answer, &expected),
            Err(error) => self.tally.failed("the books", &error),
        }
        self.tally
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A question takes milliseconds, and much longer only where something hangs.
const PATIENCE: Duration = Duration::from_secs(20);

impl Way {
    async fn put(
        &mut self,
        question: Question,
        setting: Setting,
        facts: Facts,
    ) -> Result<String, Failure> {
        let asking = tokio::time::timeout(PATIENCE, self.ask(question, setting, facts));
        asking
            .await
            .map_err(|_elapsed| format!("no answer within {PATIENCE:?}"))?
    }

    async fn ask(
        &mut self,
        question: Question,
        setting: Setting,
        facts: Facts,
    ) -> Result<String, Failure> {
        let ask = async move |conn: &mut AsyncPgConnection| question.ask(conn, facts).await;
        let outcome: QueryResult<String> = match self {
            Self::Stock(conn) => match setting {
                Setting::Plain => ask(conn).await,
                _ => (**conn).transaction(ask).await,
            },
            Self::Ours(database) => match setting {
                Setting::Plain => {
                    let mut conn = database.get().await?;
                    ask(&mut conn).await
                }
                Setting::Read => database.read(ask).await,
                Setting::Write => database.write(ask).await,
                Setting::Serializable => {
                    // Rows of others on the same page are conflicts too.
                    let transaction = database.transaction().serializable().attempts(100);
                    transaction.run(ask).await
                }
            },
        };
        outcome.map_err(|error| {
            let text = format!("{error:?}");
            let ours = Error::find(&error).map(|ours| format!("{ours:?}"));
            ours.unwrap_or(text).into()
        })
    }
}
