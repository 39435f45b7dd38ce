//! What PgBouncer's console says.

use std::fmt;
use std::time::Duration;

use app_db::Endpoint;
use app_db::db_config::TargetSessionAttrs;
use app_db::db_pool::connect_client;
use app_db::db_pool::plumbing::with_causes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

/// What PgBouncer says about the clients and the server connections of one database and user.
///
/// It answers only a user that is in `auth_file`, and in `stats_users` or `admin_users`. The counts since its start
/// are for the database, with all users together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PoolerFigures {
    /// `session`, `transaction` or `statement`.
    pub mode: String,
    /// Clients that have a server connection, or need none at present.
    pub clients: u32,
    /// Clients that wait for a server connection.
    pub waiting: u32,
    /// For how long the next client in the queue has been waiting, in microseconds.
    pub longest_wait_us: u64,
    /// Server connections that clients have.
    pub servers_used: u32,
    /// Server connections that are free, or that PgBouncer is just checking.
    pub servers_idle: u32,
    /// Server connections that are being made.
    pub servers_login: u32,
    /// How many server connections each user of this database may have; 0 if PgBouncer does not say.
    pub size: u32,
    /// After how many seconds it disconnects an idle client; 0 if never, or if PgBouncer does not say.
    pub client_idle_seconds: u64,
    /// Transactions since it started.
    pub transactions: u64,
    /// Statements since it started.
    pub queries: u64,
    /// How long clients have waited for a server connection since it started, in microseconds.
    pub wait_us: u64,
    /// How long statements have run since it started, in microseconds.
    pub query_us: u64,
    /// Statements that clients have prepared since it started. PgBouncer counts them from 1.21 on.
    pub client_parses: u64,
    /// How many statements PgBouncer had to prepare on a server connection that did not have them yet.
    pub server_parses: u64,
}

impl PoolerFigures {
    /// Asks the console of the PgBouncer at this endpoint, as this user. It waits at most two seconds: if the user
    /// is not in `auth_file`, the console may never answer.
    ///
    /// # Errors
    ///
    /// A text that says why there are no figures: it is another pooler, or this user may not ask. It has no secret.
    ///
    /// Dropping the future closes the session. Costs a login and a few questions.
    pub async fn ask(endpoint: &Endpoint, patience: Duration) -> Result<Self, String> {
        let patience = patience.min(MOST_PATIENCE);
        let mut console = endpoint.clone();
        CONSOLE.clone_into(&mut console.dbname);
        console.settings.clear();
        console.target_session_attrs = TargetSessionAttrs::Any;
        let client = connect_client(&console, patience)
            .await
            .map_err(|error| with_causes(&error))?;
        match timeout(patience, figures(&client, endpoint)).await {
            Ok(figures) => figures.map_err(|error| with_causes(&error)),
            Err(_elapsed) => Err(format!("its console does not answer within {patience:?}")),
        }
    }
}

/// A short text: who waits, and for how long.
impl fmt::Display for PoolerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = Duration::from_micros(self.longest_wait_us);
        write!(
            f,
            "{} mode; {} clients wait, the next for {longest:?}; {} of {} server connections are in use, {} idle",
            self.mode, self.waiting, self.servers_used, self.size, self.servers_idle
        )
    }
}

async fn figures(
    client: &Client,
    endpoint: &Endpoint,
) -> Result<PoolerFigures, tokio_postgres::Error> {
    let mut figures = PoolerFigures::default();
    for row in rows(client, "SHOW POOLS").await? {
        let is_ours = row.try_get("database")? == Some(&*endpoint.dbname)
            && row.try_get("user")? == Some(&*endpoint.user);
        if !is_ours {
            continue;
        }
        figures.mode = text(&row, "pool_mode").to_owned();
        figures.clients = number(&row, "cl_active");
        figures.waiting = number(&row, "cl_waiting");
        let seconds: u64 = number(&row, "maxwait");
        figures.longest_wait_us = seconds * 1_000_000 + number::<u64>(&row, "maxwait_us");
        figures.servers_used = number(&row, "sv_active");
        let at_rest = ["sv_idle", "sv_used", "sv_tested"];
        figures.servers_idle = at_rest.iter().map(|name| number::<u32>(&row, name)).sum();
        figures.servers_login = number(&row, "sv_login");
    }
    for row in rows(client, "SHOW DATABASES").await? {
        if row.try_get("name")? == Some(&*endpoint.dbname) {
            figures.size = number(&row, "pool_size");
        }
    }
    for row in rows(client, "SHOW CONFIG").await? {
        if row.try_get("key")? == Some("client_idle_timeout") {
            figures.client_idle_seconds = number(&row, "value");
        }
    }
    for row in rows(client, "SHOW STATS").await? {
        if row.try_get("database")? == Some(&*endpoint.dbname) {
            figures.transactions = number(&row, "total_xact_count");
            figures.queries = number(&row, "total_query_count");
            figures.wait_us = number(&row, "total_wait_time");
            figures.query_us = number(&row, "total_query_time");
            figures.client_parses = number(&row, "total_client_parse_count");
            figures.server_parses = number(&row, "total_server_parse_count");
        }
    }
    Ok(figures)
}

/// The console understands only simple queries.
async fn rows(client: &Client, what: &str) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
    let messages = client.simple_query(what).await?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

/// Versions of PgBouncer have different columns.
fn text<'r>(row: &'r SimpleQueryRow, column: &str) -> &'r str {
    row.try_get(column).ok().flatten().unwrap_or_default()
}

fn number<T: std::str::FromStr + Default>(row: &SimpleQueryRow, column: &str) -> T {
    text(row, column).parse().unwrap_or_default()
}

/// The console has no server behind it, so it can answer at once.
const MOST_PATIENCE: Duration = Duration::from_secs(2);

/// The name of PgBouncer's console, which looks like a database.
const CONSOLE: &str = "pgbouncer";
