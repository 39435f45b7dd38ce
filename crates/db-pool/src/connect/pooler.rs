//! What stands between a pool and its server, and how it is found out.
//!
//! Whether there is a pooler is decided: PostgreSQL announces the process id of the backend at login, a
//! pooler announces a number of its own. What kind of pooler it is cannot be seen from a client under
//! load, so that the unsafe answer needs a proof and the safe one none.

use std::fmt;

use diesel::sql_types::{Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::connect::connector::Link;
use crate::profile::{PoolProfile, PoolerMode, Statements};
use db_wire::{Naming, Rules};

/// What stands between a pool and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooler {
    /// No connection has been made yet.
    Unknown,
    /// Nothing: PostgreSQL itself answers.
    None,
    /// The configuration says: a pooler that gives each client a server connection of its own.
    Session,
    /// A pooler that may give each transaction to another server connection.
    Shared {
        /// Whether it is proven to give each client its own prepared statements back.
        keeps_names: bool,
    },
}

impl fmt::Display for Pooler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "not known yet",
            Self::None => "none: PostgreSQL itself answers",
            Self::Session => "a pooler in session mode, as configured",
            Self::Shared { keeps_names: true } => {
                "a pooler that may share sessions, proven to keep prepared statements by name"
            }
            Self::Shared { keeps_names: false } => {
                "a pooler that may share sessions, not proven to keep prepared statements"
            }
        })
    }
}

/// Finds out what is at the other end of a connection that nothing has been asked of yet.
///
/// Costs two round trips, and six more behind a pooler; all bounded by the connect timeout.
pub(crate) async fn detect(
    conn: &mut AsyncPgConnection,
    link: &Link,
    profile: &PoolProfile,
) -> diesel::QueryResult<Pooler> {
    let may_share = match profile.pooler {
        PoolerMode::None => return Ok(Pooler::None),
        PoolerMode::Session => return Ok(Pooler::Session),
        PoolerMode::Transaction => true,
        PoolerMode::Auto => {
            // Unnamed, so that it is answered rightly through whatever pooler there is.
            link.steering.set_rules(Rules {
                naming: Naming::Unnamed,
                ..Rules::default()
            });
            let pid: i32 = diesel::dsl::sql::<Integer>("select pg_catalog.pg_backend_pid()")
                .get_result(conn)
                .await?;
            pid != link.observed.backend_pid()
        }
    };
    if !may_share {
        return Ok(Pooler::None);
    }
    let keeps_names = profile.statements == Statements::Auto && prove_names(conn, link).await;
    Ok(Pooler::Shared { keeps_names })
}

/// Looks whether a statement prepared by name is known to the server under another: then the pooler
/// renames statements, and gives each client its own.
///
/// Anything else proves nothing.
async fn prove_names(conn: &mut AsyncPgConnection, link: &Link) -> bool {
    link.steering.set_rules(Rules::default());
    // In a transaction, so that all of it meets one server connection, and nothing is left there.
    let probing = async {
        conn.batch_execute("BEGIN").await?;
        let names: Vec<String> = diesel::dsl::sql::<Text>(
            "select name::text from pg_catalog.pg_prepared_statements \
             where statement like '%db-pool asks for its name%'",
        )
        .load(conn)
        .await?;
        diesel::QueryResult::Ok(names)
    };
    let names = probing.await;
    let ended = conn.batch_execute("ROLLBACK").await;
    ended.is_ok() && names.is_ok_and(|names| names.iter().any(|name| name.starts_with(RENAMED)))
}

/// How PgBouncer names the statements that it keeps for its clients (since 1.21).
const RENAMED: &str = "PGBOUNCER_";
