//! What an orchestrator asks.

use app_db::Status;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::ledger::Ledger;

/// The process answers. The database has no say in it: restarting the service would not help.
pub(crate) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Whether requests should be sent here: the pools are well, and the schema is not older than this service.
pub(crate) async fn ready(State(ledger): State<Ledger>) -> (StatusCode, Json<Value>) {
    if ledger.lifecycle.is_draining() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "ready": false, "draining": true })),
        );
    }
    let mut answer = json!({ "ready": false, "draining": false });
    if ledger.db.health().await.is_ready() {
        match ledger.schema.look(&ledger.db).await {
            Ok(None) => {
                answer["ready"] = json!(true);
                return (StatusCode::OK, Json(answer));
            }
            Ok(Some(lacking)) => answer["schema"] = json!(lacking),
            Err(error) => tracing::warn!(error = error.report(), "the schema was not seen"),
        }
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
}

/// The pools in numbers, the write pool first.
pub(crate) async fn status(State(ledger): State<Ledger>) -> Json<Value> {
    let pools: Vec<Value> = ledger.db.status().iter().map(pool).collect();
    Json(json!({ "draining": ledger.lifecycle.is_draining(), "pools": pools }))
}

fn pool(status: &Status) -> Value {
    json!({
        "pool": &*status.pool,
        "generation": status.generation,
        "max": status.max,
        "open": status.open,
        "idle": status.idle,
        "in_use": status.in_use,
        "waiting": status.waiting,
        "retiring": status.retiring,
        "opened": status.connects.opened,
        "retired": status.closed.by_rotation,
        "idle_closed": status.closed.by_idle_timeout,
        "lifetime_closed": status.closed.by_age,
        "uses_closed": status.closed.by_uses,
        "surplus_closed": status.closed.by_resize,
        "discarded": status.closed.discarded,
        "connect_failures": status.connects.failed,
        "breaker": status.breaker.to_string(),
        "timeouts": status.checkouts.timed_out,
        "refused": status.checkouts.refused,
        "wait_count": status.checkouts.queued,
        "wait_p99_ms": status.checkouts.waits.p99.as_secs_f64() * 1000.0,
        "slow_queries": status.slow_queries,
    })
}
