//! Orders over HTTP: what a service needs that the ledger does not show.
//!
//! | request | answer |
//! |---|---|
//! | `POST /orders {"reference", "item", "amount"}` | 201 `{"id"}`; 409 if the reference is taken, 422 if it is no order |
//! | `GET /orders` | 200 with the newest 100 |
//! | `GET /orders/{id}` | 200 `{"id", "reference", "item", "amount"}`, or 404 |
//! | `GET /report` | 200 `[{"item", "orders", "amount"}]`, on a pool of its own |
//! | `GET /events` | server-sent events: `placed` with each order from now on, `missed` if `GET /orders` may have more |
//! | `GET /ready` | 200, or 503 while it cannot serve |
//!
//! Its table is in `migrations/` and its settings are in `config/`, both in the folder of this file, which is where to
//! start it: `dbctl migrate run`, then `cargo run -p app-db --example orders`. The first line on standard output is the
//! address that it listens on. SIGTERM and SIGINT shut it down.

mod error;
mod events;
mod orders;
mod report;
mod schema;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use app_db::{Config, Database};
use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::events::Feed;

/// The table `[http]` of the configuration.
#[derive(Deserialize)]
struct Http {
    listen: String,
}

/// What every request handler can use.
#[derive(Clone)]
struct Service {
    db: Database,
    feed: Feed,
}

impl FromRef<Service> for Database {
    fn from_ref(service: &Service) -> Self {
        service.db.clone()
    }
}

impl FromRef<Service> for Feed {
    fn from_ref(service: &Service) -> Self {
        service.feed.clone()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let config = Config::load()?;
    let http: Http = config.own("http")?;
    // Until its database answers, the service reports that it is not ready.
    let db = Database::connect_lazy(&config)?;
    let (stop, stopping) = watch::channel(false);
    let feed = Feed::follow(db.clone(), stopping);
    let app = Router::new()
        .route("/orders", get(orders::newest).post(orders::place))
        .route("/orders/{id}", get(orders::show))
        .route("/report", get(report::by_item))
        .route("/events", get(events::follow))
        .route("/ready", get(ready))
        .with_state(Service {
            db: db.clone(),
            feed,
        });

    let listener = TcpListener::bind(&http.listen).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let told_to_stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // A client that follows the events would be a request in progress for ever.
        stop.send_replace(true);
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(told_to_stop)
        .await?;
    db.shutdown(GRACE).await;
    Ok(())
}

async fn ready(State(db): State<Database>) -> StatusCode {
    match db.health().await.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// How long transactions in progress may take to end.
const GRACE: Duration = Duration::from_secs(10);
