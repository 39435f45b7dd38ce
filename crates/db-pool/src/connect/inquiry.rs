//! How a pool finds the pooler between it and its server, and the server's settings.
//!
//! The pool can decide whether there is a pooler: PostgreSQL announces the process id of the backend at login, and
//! a pooler announces its own number. A client cannot see under load what kind of pooler it is, so the unsafe
//! answer needs a proof and the safe answer needs none. Only Pgpool-II passes on the server's number. The pool
//! finds it with a Pgpool-II command, which PostgreSQL refuses. At an unusual port this command goes out together
//! with the first question. At a usual port the pool sends it only if the server does not listen where the pool
//! has connected.

use std::net::SocketAddr;

use db_config::{Endpoint, Host};
use futures_util::future::{join, join3};
use tokio::net::lookup_host;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::connect::connector::Link;

use crate::connect::opened::{Opened, driven};
use crate::connect::pooler::Pooler;
use crate::connect::session_facts::{OWN_VALUES, QUESTION, SessionFacts};
use crate::profile::{PoolProfile, PoolerMode, Statements};

/// Finds out what is at the other end of a connection before anybody uses it.
///
/// Costs one round trip, two more behind a pooler that may share sessions, and one more if Pgpool-II might answer
/// at a usual port. The connect timeout bounds everything together.
pub(crate) async fn inquire(
    opened: &mut Opened,
    link: &Link,
    profile: &PoolProfile,
) -> Result<(Pooler, SessionFacts), tokio_postgres::Error> {
    let finds_out = profile.pooler == PoolerMode::Auto;
    let asks_along = finds_out && opened.addresses().iter().any(is_unusual);
    let (client, driver) = opened.parts();
    let asking = async {
        let question = client.simple_query(QUESTION);
        if !asks_along {
            return Ok((question.await?, None));
        }
        // Both travel at once.
        let (answer, knows) = join(question, knows_pgpools_command(client)).await;
        Ok((answer?, Some(knows?)))
    };
    let (answer, knows) = driven(asking, driver).await?;
    let mut facts = SessionFacts::read(&answer);
    let pooler = match recognize(link, profile, &facts) {
        Some(pooler) => pooler,
        None => examine(opened, profile, &mut facts).await?,
    };
    // With load balancing Pgpool-II greets with the number of one server, and another one may serve.
    let may_be_pgpool = matches!(pooler, Pooler::None | Pooler::Shared { keeps_names: false });
    let is_pgpool = match knows {
        _ if !(finds_out && may_be_pgpool) => false,
        Some(knows) => knows,
        None => facts.is_answered_elsewhere(opened.addresses()) && is_pgpool(opened).await?,
    };
    match is_pgpool {
        true => Ok((Pooler::Pgpool, facts)),
        false => Ok((pooler, facts)),
    }
}

/// PostgreSQL and PgBouncer are rarely at another port; Pgpool-II mostly is.
fn is_unusual(address: &SocketAddr) -> bool {
    ![5432, 6432, 6543].contains(&address.port())
}

/// What is at the other end, according to the configuration or to the answering process. `None` if there is a
/// pooler that may share sessions, and the pool must still examine it.
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

/// Examines a pooler that shares sessions: its kind, and the settings of its sessions that the pool can rely on.
///
/// Costs two round trips. The pool prepares a statement with a name. If the server knows it under another name,
/// the pooler renames statements and gives each client its own. Any other result proves nothing.
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
        // A transaction sends everything to one server connection, and leaves nothing there.
        let begin = format!("BEGIN;{OWN_VALUES}");
        let (own, prepared, names) = join3(
            client.simple_query(&begin),
            client.prepare(MARKED),
            client.simple_query(NAMES),
        )
        .await;
        facts.read_own(own);
        // The next message closes the statement on the same server connection.
        drop(prepared);
        let ended = client.batch_execute("ROLLBACK").await;
        let renamed = |answer: Vec<_>| texts(&answer).any(|name| name.starts_with(RENAMED));
        Ok(Pooler::Shared {
            keeps_names: ended.is_ok() && names.is_ok_and(renamed),
        })
    };
    driven(examining, driver).await
}

async fn is_pgpool(opened: &mut Opened) -> Result<bool, tokio_postgres::Error> {
    let (client, driver) = opened.parts();
    driven(knows_pgpools_command(client), driver).await
}

/// Whether Pgpool-II is behind a connection to this endpoint. The caller drives the connection.
///
/// Costs one round trip and the resolution of the hosts' names, and another round trip if there may be a pooler.
///
/// # Errors
///
/// Fails if the connection has ended or the server has refused the question. Dropping the future leaves an answer
/// that the driver still has to read.
pub async fn is_behind_pgpool(
    client: &Client,
    endpoint: &Endpoint,
) -> Result<bool, tokio_postgres::Error> {
    let facts = SessionFacts::read(&client.simple_query(QUESTION).await?);
    let mut looked_for = Vec::new();
    for host in &endpoint.hosts {
        match host {
            Host::Tcp {
                addr: Some(addr),
                port,
                ..
            } => looked_for.push(SocketAddr::new(*addr, *port)),
            Host::Tcp { name, port, .. } => {
                let found = lookup_host((name.as_str(), *port)).await;
                looked_for.extend(found.into_iter().flatten());
            }
            Host::Unix { .. } => {}
        }
    }
    Ok(facts.is_answered_elsewhere(&looked_for) && knows_pgpools_command(client).await?)
}

/// PostgreSQL refuses this command, and logs that.
async fn knows_pgpools_command(client: &Client) -> Result<bool, tokio_postgres::Error> {
    match client.simple_query("SHOW pool_version").await {
        Ok(answer) => Ok(answer.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row
                .columns()
                .iter()
                .any(|column| column.name() == "pool_version"),
            _ => false,
        })),
        Err(error) if error.is_closed() => Err(error),
        Err(_refused) => Ok(false),
    }
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
