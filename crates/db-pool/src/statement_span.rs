//! Spans of statements, with OpenTelemetry's names for databases; nothing is done while nobody wants them.
//!
//! A span begins where its statement does, in the caller's own span. It ends when the wire has seen the
//! last row, which may be long after diesel has handed out the first; the text, the rows and the SQLSTATE
//! are recorded then.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use db_config::{Endpoint, Host};
use tracing::Span;
use tracing::field::Empty;

use crate::fingerprint::{Fingerprint, MAX_READ};
use crate::wire::Command;

/// The spans of one connection's statements that are not over.
#[derive(Debug)]
pub(crate) struct StatementSpans {
    pool: Arc<str>,
    namespace: String,
    address: Option<(String, u16)>,
    open: Mutex<Vec<Open>>,
    /// How many are open, so that a look at it is enough where there are none.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Open {
    /// The text as it is sent, by which the wire's word of it is recognised.
    sql: String,
    span: Span,
}

impl StatementSpans {
    pub(crate) fn new(pool: Arc<str>, endpoint: &Endpoint) -> Self {
        Self {
            pool,
            namespace: endpoint.dbname.clone(),
            // Of several hosts it is not known here which one answers.
            address: match endpoint.hosts.as_slice() {
                [Host::Tcp { name, port, .. }] => Some((name.clone(), *port)),
                [Host::Unix { dir, port }] => Some((dir.display().to_string(), *port)),
                _ => None,
            },
            open: Mutex::default(),
            count: AtomicUsize::new(0),
        }
    }

    /// Begins the span of a statement, if somebody wants it.
    pub(crate) fn begin(&self, query: &dyn fmt::Display) {
        if !tracing::span_enabled!(target: "app_db::statement", tracing::Level::DEBUG) {
            return;
        }
        let address = self.address.as_ref();
        let span = tracing::debug_span!(
            target: "app_db::statement",
            "statement",
            otel.name = Empty,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "postgresql",
            db.namespace = self.namespace,
            db.client.connection.pool.name = &*self.pool,
            server.address = address.map(|(host, _port)| host.as_str()),
            server.port = address.map(|(_host, port)| *port),
            db.query.summary = Empty,
            db.query.text = Empty,
            db.response.returned_rows = Empty,
            db.response.status_code = Empty,
            error.r#type = Empty,
        );
        let sql = text_of(query);
        let mut open = self.lock();
        open.push(Open { sql, span });
        self.count.store(open.len(), Ordering::Release);
    }

    /// Records what came of a command in its span and ends it.
    pub(crate) fn completed(&self, command: &Command<'_>, fingerprint: &Fingerprint) -> Span {
        let Some(span) = self.take(command.sql) else {
            return Span::none();
        };
        name(&span, fingerprint);
        span.record("db.response.returned_rows", command.rows);
        if let Some(sqlstate) = command.sqlstate {
            span.record("db.response.status_code", sqlstate.code());
            span.record("error.type", sqlstate.code());
            span.record("otel.status_code", "ERROR");
        }
        span
    }

    /// Ends the span of a statement that the wire does not speak of: the server was never asked, as with a
    /// BEGIN that travels with the next statement.
    pub(crate) fn finished(&self, query: &dyn fmt::Display, failed: bool) {
        let sql = text_of(query);
        let Some(span) = self.take(sql.as_bytes()) else {
            return;
        };
        name(&span, &Fingerprint::of(sql.as_bytes()));
        if failed {
            span.record("otel.status_code", "ERROR");
        }
    }

    /// Ends what is left by a borrower who has dropped a query.
    pub(crate) fn forget(&self) {
        if !self.is_empty() {
            self.count.store(0, Ordering::Release);
            let left = std::mem::take(&mut *self.lock());
            // Ended here and not under the lock: a subscriber is somebody else's code.
            drop(left);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn take(&self, sql: &[u8]) -> Option<Span> {
        if self.is_empty() {
            return None;
        }
        let mut open = self.lock();
        // What the wire has of a long simple query is its beginning.
        let is_it = |open: &Open| match sql.len() < MAX_READ {
            true => open.sql.as_bytes() == sql,
            false => open.sql.as_bytes().starts_with(sql),
        };
        let at = open.iter().position(is_it)?;
        let taken = open.remove(at);
        self.count.store(open.len(), Ordering::Release);
        Some(taken.span)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(span: &Span, fingerprint: &Fingerprint) {
    let summary = match &*fingerprint.summary {
        "" => "postgresql",
        summary => summary,
    };
    span.record("otel.name", summary);
    span.record("db.query.summary", summary);
    span.record("db.query.text", &*fingerprint.text);
}

/// The text of diesel's query, without the values that its `Display` puts behind it.
fn text_of(query: &dyn fmt::Display) -> String {
    let mut text = UpToBinds(String::new());
    // It fails where the text ends.
    let _ended = fmt::write(&mut text, format_args!("{query}"));
    text.0
}

struct UpToBinds(String);

impl fmt::Write for UpToBinds {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        if piece == " -- binds: " {
            return Err(fmt::Error);
        }
        self.0.push_str(piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::sql_types::Text;

    /// A value is not even written into memory, and the text is what the wire will see.
    #[test]
    fn the_values_of_a_query_are_left_out() {
        let query = diesel::sql_query("select $1 -- binds: ").bind::<Text, _>("canary");
        let shown = diesel::debug_query::<diesel::pg::Pg, _>(&query);
        assert!(shown.to_string().contains("canary"));
        assert_eq!(text_of(&shown), "select $1 -- binds: ");
    }
}
