//! The sessions of a database, as `pg_stat_activity` has them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use app_db::db_pool::plumbing::{escaped, without_values};
use comfy_table::Table;
use serde::Serialize;
use tokio_postgres::Client;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

/// The sessions of one database. `schema` is raised if a field changes its meaning or goes away.
#[derive(Serialize)]
pub(super) struct Sessions {
    schema: u32,
    database: String,
    /// Whether the server itself was asked. Otherwise the sessions may belong to a pooler.
    pub(super) is_direct: bool,
    max_connections: i64,
    reserved_connections: i64,
    /// How many sessions there are in each state.
    states: BTreeMap<String, u32>,
    /// How many of them belong to the pools of this configuration, by their application name.
    ours: u32,
    /// How many sessions of other users the server hides, because this user is no member of
    /// pg_read_all_stats.
    hidden: u32,
    /// How many were ended as asked.
    pub(super) ended: Option<u32>,
    sessions: Vec<Session>,
}

/// One session.
#[derive(Serialize)]
struct Session {
    pid: i32,
    ours: bool,
    usename: Option<String>,
    application_name: Option<String>,
    client_addr: Option<String>,
    state: Option<String>,
    wait: Option<String>,
    /// The processes that it waits for.
    blocked_by: Vec<i32>,
    /// For how long its transaction has been open.
    transaction_seconds: Option<f64>,
    /// For how long it has been in its state.
    state_seconds: Option<f64>,
    /// When its statement began.
    query_start: Option<String>,
    /// That statement, or the last one, with `?` for values.
    query: Option<String>,
}

impl Sessions {
    pub(super) async fn read(client: &Client, ours: &[String]) -> Result<Self, CommandFailure> {
        let facts = client.query_typed(FACTS, &[]).await.map_err(failed)?;
        let facts = facts.first().ok_or_else(|| {
            CommandFailure::new(Exit::Failed, "the server answered without a row")
        })?;
        let rows = client.query_typed(SESSIONS, &[]).await.map_err(failed)?;
        let mut sessions = Vec::new();
        let mut states = BTreeMap::new();
        let mut hidden = 0;
        for row in rows {
            let text = |column: &str| row.try_get::<_, Option<String>>(column).map_err(failed);
            let seconds = |column: &str| row.try_get::<_, Option<f64>>(column).map_err(failed);
            let (state, query) = (text("state")?, text("query")?);
            let is_hidden = query.as_deref() == Some(HIDDEN);
            hidden += u32::from(is_hidden);
            let word = match (&state, is_hidden) {
                (_, true) => "hidden",
                (Some(state), _) => state,
                (None, _) => "unknown",
            };
            *states.entry(word.to_owned()).or_default() += 1;
            let application_name = text("application_name")?;
            let is_ours = |name: &String| ours.contains(name);
            sessions.push(Session {
                pid: row.try_get("pid").map_err(failed)?,
                ours: application_name.as_ref().is_some_and(is_ours),
                usename: text("usename")?,
                application_name: application_name.as_deref().map(escaped),
                client_addr: text("client_addr")?,
                state,
                wait: text("wait")?,
                blocked_by: row.try_get("blocked_by").map_err(failed)?,
                transaction_seconds: seconds("transaction_seconds")?,
                state_seconds: seconds("state_seconds")?,
                query_start: text("query_start")?,
                query: query
                    .filter(|_| !is_hidden)
                    .map(|sql| without_values(&sql).to_string()),
            });
        }
        Ok(Self {
            schema: 1,
            database: facts.try_get(0).map_err(failed)?,
            is_direct: true,
            max_connections: facts.try_get(1).map_err(failed)?,
            reserved_connections: facts.try_get(2).map_err(failed)?,
            states,
            ours: sessions.iter().filter(|session| session.ours).count() as u32,
            hidden,
            ended: None,
            sessions,
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let states: Vec<_> = self
            .states
            .iter()
            .map(|(state, count)| format!("{count} {state}"))
            .collect();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{}: {} sessions ({}), {} of them ours; the server has {} connections, {} of them reserved",
            self.database,
            self.sessions.len(),
            states.join(", "),
            self.ours,
            self.max_connections,
            self.reserved_connections,
        );
        if let Some(ended) = self.ended {
            let _ = writeln!(text, "{ended} idle sessions were ended");
        }
        if !self.is_direct {
            text.push_str(
                "there is no direct URL: if a pooler answers, these are the pooler's sessions\n",
            );
        }
        if self.hidden > 0 {
            let _ = writeln!(
                text,
                "{} sessions are hidden: GRANT pg_read_all_stats to see them",
                self.hidden
            );
        }
        if !self.sessions.is_empty() {
            let _ = write!(text, "\n{}", self.table().trim_fmt());
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = output::table(&[
            "pid",
            "ours",
            "user",
            "application",
            "client",
            "state",
            "for",
            "transaction",
            "wait",
            "blocked by",
            "statement",
        ]);
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let seconds = |seconds: Option<f64>| {
            seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}s"))
        };
        for session in &self.sessions {
            let blockers: Vec<_> = session.blocked_by.iter().map(ToString::to_string).collect();
            table.add_row([
                session.pid.to_string(),
                if session.ours { "yes" } else { "no" }.to_owned(),
                or_dash(&session.usename),
                or_dash(&session.application_name),
                or_dash(&session.client_addr),
                or_dash(&session.state),
                seconds(session.state_seconds),
                seconds(session.transaction_seconds),
                or_dash(&session.wait),
                match blockers.is_empty() {
                    true => "-".to_owned(),
                    false => blockers.join(","),
                },
                or_dash(&session.query),
            ]);
        }
        table
    }
}

/// Ends the sessions of this database that have been idle for this time, except our own. Returns how
/// many.
pub(super) async fn end_idle(client: &Client, idle: Duration) -> Result<u32, CommandFailure> {
    let seconds = idle.as_secs_f64();
    let ended = client
        .query(END_IDLE, &[&seconds])
        .await
        .map_err(failed)?
        .iter()
        .filter(|row| row.get(0))
        .count();
    Ok(ended as u32)
}

fn failed(error: impl Into<Box<dyn std::error::Error>>) -> CommandFailure {
    CommandFailure::new(Exit::Failed, error)
}

/// What the server shows instead of a statement that this user may not see.
const HIDDEN: &str = "<insufficient privilege>";

const FACTS: &str = "\
SELECT current_database()::text,
       current_setting('max_connections')::bigint,
       current_setting('superuser_reserved_connections')::bigint
         + coalesce(current_setting('reserved_connections', true)::bigint, 0)";

const SESSIONS: &str = "\
SELECT pid, usename::text, application_name::text, host(client_addr) AS client_addr, state::text,
       nullif(concat_ws(':', wait_event_type, wait_event), '') AS wait,
       pg_blocking_pids(pid) AS blocked_by,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS transaction_seconds,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS state_seconds,
       query_start::text, query::text
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
ORDER BY cardinality(pg_blocking_pids(pid)) DESC, xact_start NULLS LAST, state, pid";

/// The time when it became idle counts, and not the time when its last statement began.
const END_IDLE: &str = "\
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'
  AND state_change < clock_timestamp() - make_interval(secs => $1)";
