//! Spans of statements, with OpenTelemetry's names for databases. Without a subscriber, nothing is done.
//!
//! A span begins where its statement does, in the caller's own span. It ends when the wire has seen the last row,
//! which may be long after diesel has handed out the first. The text, the rows and the SQLSTATE are recorded then.
//! Bound values take the same way to the slow-query log, if it shows them. They are in no span.

use std::fmt;
use std::sync::Arc;

use db_config::{Endpoint, Host};
use tracing::Span;
use tracing::field::Empty;

use crate::fingerprint::Fingerprint;
use crate::telemetry::begun::{Begun, Kept};
use crate::telemetry::bound_values::{BoundValues, parted};
use db_wire::Command;

/// The spans of one connection's statements that have not ended.
#[derive(Debug)]
pub(crate) struct StatementSpans {
    pool: Arc<str>,
    namespace: String,
    address: Option<(String, u16)>,
    /// Whether the slow-query log shows bound values.
    keeps_values: bool,
    begun: Begun,
}

impl StatementSpans {
    pub(crate) fn new(pool: Arc<str>, endpoint: &Endpoint, keeps_values: bool) -> Self {
        Self {
            pool,
            namespace: endpoint.dbname.clone(),
            // With several hosts, this code does not know which one answers.
            address: match endpoint.hosts.as_slice() {
                [Host::Tcp { name, port, .. }] => Some((name.clone(), *port)),
                [Host::Unix { dir, port }] => Some((dir.display().to_string(), *port)),
                _ => None,
            },
            keeps_values,
            begun: Begun::default(),
        }
    }

    /// Begins the span of a statement and keeps its values, if somebody wants either of them.
    pub(crate) fn begin(&self, query: &dyn fmt::Display) {
        let wanted = tracing::span_enabled!(target: "app_db::statement", tracing::Level::DEBUG);
        if !wanted && !self.keeps_values {
            return;
        }
        let span = if wanted { self.span() } else { Span::none() };
        let (sql, values) = parted(query, self.keeps_values);
        self.begun.push(sql, Kept { span, values });
    }

    fn span(&self) -> Span {
        let address = self.address.as_ref();
        tracing::debug_span!(
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
        )
    }

    /// Records the outcome of a command in its span. Returns the span, which ends when it is dropped, and the
    /// values that were bound to the command.
    pub(crate) fn completed(
        &self,
        command: &Command<'_>,
        fingerprint: &Fingerprint,
    ) -> (Span, Option<BoundValues>) {
        if self.is_empty() {
            return (Span::none(), None);
        }
        let Some(Kept { span, values }) = self.begun.completed(command.sql) else {
            return (Span::none(), None);
        };
        name(&span, fingerprint);
        span.record("db.response.returned_rows", command.rows);
        if let Some(sqlstate) = command.sqlstate {
            span.record("db.response.status_code", sqlstate.code());
            span.record("error.type", sqlstate.code());
            span.record("otel.status_code", "ERROR");
        }
        (span, values)
    }

    /// Ends the span of a statement that the wire does not report, because the server was never asked. A BEGIN that
    /// travels with the next statement is one.
    pub(crate) fn finished(&self, query: &dyn fmt::Display, failed: bool, is_working: bool) {
        if self.is_empty() {
            return;
        }
        let (sql, _values) = parted(query, false);
        let Some(Kept { span, .. }) = self.begun.finished(&sql, is_working) else {
            return;
        };
        name(&span, &Fingerprint::of(sql.as_bytes()));
        if failed {
            span.record("otel.status_code", "ERROR");
        }
    }

    /// Ends the spans left by a holder that has dropped a query.
    pub(crate) fn forget(&self) {
        self.begun.forget();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty()
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
