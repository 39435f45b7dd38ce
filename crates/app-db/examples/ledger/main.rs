//! A ledger over HTTP: the reference service of this workspace.
//!
//! It opens accounts, moves money between them in serializable transactions, and reads balances from the
//! read pool. Its tables are the repository's `migrations/`. Start it in the repository: `./run up`, the line that this
//! prints for the shell, `./run migrate`, then `cargo run -p app-db --example ledger`.
//!
//! | request | answer |
//! |---|---|
//! | `POST /accounts {"name", "deposit"?}` | 201 `{"id", "name", "balance"}` |
//! | `GET /accounts/{id}` | 200, or 404 |
//! | `POST /transfers {"from", "to", "amount"}` | 201 `{"id"}`; 422 if it cannot be done, 409 if it always conflicts |
//! | `GET /live` | 200 as long as the process answers |
//! | `GET /ready` | 200, or 503 while a pool is not well, migrations are pending or the service is shutting down |
//! | `GET /status` | the pools in numbers |
//!
//! 503 with `Retry-After` means busy or no database; the request was not carried out.
//!
//! `LEDGER_LISTEN` is the address to listen on, `127.0.0.1:8080` by default. The first line on standard output is
//! the address in use. If `LEDGER_PAGE_LISTEN` is set, the status page of the pools has a port of its own, and the
//! second line is its address. It has to be a loopback address such as `127.0.0.1:8081`. If `LEDGER_ASKS_POOLER` is
//! set, the ledger asks PgBouncer for its numbers; PgBouncer's `stats_users` has to name the ledger's user for that.
//!
//! SIGTERM and SIGINT shut the service down. It first reports that it is not ready, and serves for `LEDGER_DRAIN_MS`
//! (1000) more, so that a load balancer notices. SIGHUP makes it read the credentials again. If
//! `LEDGER_ENDS_WITH_INPUT` is set, it also shuts down when the pipe on its standard input closes, so that it does
//! not outlive the program that started it.

mod accounts;
mod error;
mod ledger;
mod lifecycle;
mod log;
mod operate;
mod probes;
mod schema;
mod schema_seen;
mod transfers;

use std::io::Write;
use std::process::ExitCode;

use app_db::{Config, ConfigError, Database};
use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use self::ledger::Ledger;
use self::lifecycle::Lifecycle;
use self::schema_seen::SchemaSeen;

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::load();
    log::begin(config.as_ref().ok().map(Config::environment));

    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = error::chain(&*error), "the ledger cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Result<Config, ConfigError>) -> Result<(), Box<dyn std::error::Error>> {
    let drain = lifecycle::drain_from(std::env::var("LEDGER_DRAIN_MS").ok())?;
    let listen = std::env::var("LEDGER_LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let migrations = app_db::embed_migrations!("$CARGO_MANIFEST_DIR/../../migrations")?;
    let db = Database::connect(&config?)
        .await?
        .with_migrations(migrations);
    let ends_with_input = std::env::var_os("LEDGER_ENDS_WITH_INPUT").is_some();
    let lifecycle = Lifecycle::watch_signals(db.clone(), ends_with_input)?;

    let listener = TcpListener::bind(&listen).await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    let operations = operate::watch(&db).await?;
    let app = router(Ledger {
        db: db.clone(),
        lifecycle: lifecycle.clone(),
        schema: SchemaSeen::default(),
    });
    lifecycle.serve(listener, app, drain).await?;

    operations.stop().await;
    let closed = db.shutdown(lifecycle::GRACE).await;
    tracing::info!(?closed, "the ledger has shut down");
    Ok(())
}

fn router(ledger: Ledger) -> Router {
    Router::new()
        .route("/accounts", post(accounts::open))
        .route("/accounts/{id}", get(accounts::show))
        .route("/transfers", post(transfers::create))
        .route("/live", get(probes::live))
        .route("/ready", get(probes::ready))
        .route("/status", get(probes::status))
        .with_state(ledger)
}
