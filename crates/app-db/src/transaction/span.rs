//! The span of a transaction. It covers every attempt and the delays between them, and contains the spans
//! of the statements. Without a subscriber, nothing is done.

use db_pool::Pool;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::transaction::progress::TransactionProgress;

/// Begins the span inside the current span of the caller.
pub(crate) fn begin(pool: &Pool, label: Option<&'static str>) -> Span {
    if !tracing::span_enabled!(target: "app_db::transaction", tracing::Level::DEBUG) {
        return Span::none();
    }
    tracing::debug_span!(
        target: "app_db::transaction",
        "transaction",
        otel.name = label.unwrap_or("transaction"),
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "postgresql",
        db.namespace = pool.database(),
        db.operation.name = "transaction",
        db.client.connection.pool.name = pool.name(),
        label,
        attempts = Empty,
    )
}

/// Runs a transaction in its span, and records how it ended.
pub(crate) async fn ended<T, E>(
    running: impl Future<Output = Result<T, E>>,
    span: Span,
    progress: &TransactionProgress,
) -> Result<T, E> {
    let outcome = running.instrument(span.clone()).await;
    span.record("attempts", progress.attempt());
    if outcome.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    outcome
}
