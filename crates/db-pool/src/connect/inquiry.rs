//! How a pool finds out what stands between it and its server, and what the server's settings are.
//!
//! Whether there is a pooler is decided: PostgreSQL announces the process id of the backend at login, a
//! pooler announces a number of its own. What kind of pooler it is cannot be seen from a client under
//! load, so that the unsafe answer needs a proof and the safe one none.

use futures_util::future::join3;
use tokio_postgres::SimpleQueryMessage;

use crate::connect::connector::Link;

use crate::connect::opened::{Opened, driven};
use crate::connect::pooler::Pooler;
use crate::connect::session_facts::{OWN_VALUES, QUESTION, SessionFacts};
use crate::profile::{PoolProfile, PoolerMode, Statements};

/// Finds out what is at the other end of a connection that nobody uses yet.
///
/// Costs one round trip, and two more behind a pooler that may share sessions; all bounded by the connect
/// timeout.
pub(crate) async fn inquire(
    opened: &mut Opened,
    link: &Link,
    profile: &PoolProfile,
) -> Result<(Pooler, SessionFacts), tokio_postgres::Error> {
    let (client, driver) = opened.parts();
    let answer = driven(client.simple_query(QUESTION), driver).await?;
    let mut facts = SessionFacts::read(&answer);
    let pooler = match recognize(link, profile, &facts) {
        Some(pooler) => pooler,
        None => examine(opened, profile, &mut facts).await?,
    };
    Ok((pooler, facts))
}

/// What is at the other end, by the configuration or by the process that has answered; `None` where the
/// pooler may share sessions, and it is still to be asked what it keeps.
fn recognize(link: &Link, profile: &PoolProfile, facts: &SessionFacts) -> Option<Pooler> {
    match profile.pooler {
        PoolerMode::None => Some(Pooler::None),
        PoolerMode::Session => Some(Pooler::Session),
        PoolerMode::Transaction => None,
        PoolerMode::Auto => {
            let is_direct = facts.backend_pid() == Some(link.observed.backend_pid());
            is_direct.then_some(Pooler::None)
        }
    }
}

/// What kind of pooler it is that may share sessions, and which of their settings can be relied on.
///
/// Costs two round trips. A statement that is prepared by name, and is known to the server under another name,
/// proves that the pooler renames statements, and gives each client its own. Anything else proves nothing.
async fn examine(
    opened: &mut Opened,
    profile: &PoolProfile,
    facts: &mut SessionFacts,
) -> Result<Pooler, tokio_postgres::Error> {
    let (client, driver) = opened.parts();
    let examining = async {
        if profile.statements != Statements::Auto {
            facts.read_own(client.simple_query(OWN_VALUES).await);
            return Ok(Pooler::Shared { keeps_names: false });
        }
        // In a transaction, so that all of it meets one server connection, and nothing is left there.
        let begin = format!("BEGIN;{OWN_VALUES}");
        let (own, prepared, names) = join3(
            client.simple_query(&begin),
            client.prepare(MARKED),
            client.simple_query(NAMES),
        )
        .await;
        facts.read_own(own);
        // It is closed with the message that is sent next, on the same server connection.
        drop(prepared);
        let ended = client.batch_execute("ROLLBACK").await;
        let renamed = |answer: Vec<_>| texts(&answer).any(|name| name.starts_with(RENAMED));
        Ok(Pooler::Shared {
            keeps_names: ended.is_ok() && names.is_ok_and(renamed),
        })
    };
    driven(examining, driver).await
}

/// The texts in the first column of an answer.
fn texts(answer: &[SimpleQueryMessage]) -> impl Iterator<Item = &str> {
    answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
        _ => None,
    })
}

const MARKED: &str = "SELECT 'db-pool asks for its name'";

const NAMES: &str = "SELECT name FROM pg_catalog.pg_prepared_statements \
     WHERE statement LIKE '%db-pool asks for its name%'";

/// How PgBouncer names the statements that it keeps for its clients (since 1.21).
const RENAMED: &str = "PGBOUNCER_";
