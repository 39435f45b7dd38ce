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

/// Whether requests should be sent here (req 4.25).
pub(crate) async fn ready(State(ledger): State<Ledger>) -> (StatusCode, Json<Value>) {
    if ledger.lifecycle.is_draining() {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({ "ready": false, "draining": true })),
        );
    }
    let ready = ledger.db.health().await.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(json!({ "ready": ready, "draining": false })))
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
        "opened": status.opened,
        "retired": status.retired,
        "idle_closed": status.idle_closed,
        "lifetime_closed": status.lifetime_closed,
        "uses_closed": status.uses_closed,
        "surplus_closed": status.surplus_closed,
        "discarded": status.discarded,
        "connect_failures": status.connect_failures,
        "breaker": status.breaker.to_string(),
        "timeouts": status.timeouts,
        "refused": status.refused,
        "wait_count": status.wait_count,
        "wait_p99_ms": status.waits.p99.as_secs_f64() * 1000.0,
        "slow_queries": status.slow_queries,
    })
}
