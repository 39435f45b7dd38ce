//! What an operator sees of the service: it watches its pools, and shows their page on a port of its own.

use std::io::Write;
use std::net::SocketAddr;

use app_db::Database;
use db_observe::{MonitorOptions, Operations, Page};
use tokio::net::TcpListener;

/// Begins to watch the pools, and PgBouncer if `LEDGER_ASKS_POOLER` is set. Serves their page at
/// `LEDGER_PAGE_LISTEN`, if that is set. It ends with the process.
pub(crate) async fn watch(db: &Database) -> Result<Operations, Box<dyn std::error::Error>> {
    let mut monitor = MonitorOptions::default();
    monitor.asks_pooler = std::env::var_os("LEDGER_ASKS_POOLER").is_some();
    let operations = Operations::of(db).fingerprints(20).monitor(monitor).start();
    if let Ok(listen) = std::env::var("LEDGER_PAGE_LISTEN") {
        let address: SocketAddr = listen.parse().map_err(|_| {
            format!("LEDGER_PAGE_LISTEN: {listen:?}, expected an address such as 127.0.0.1:8081")
        })?;
        if !address.ip().is_loopback() {
            return Err(format!("LEDGER_PAGE_LISTEN: {address} is no loopback address").into());
        }
        let listener = TcpListener::bind(address).await?;
        writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
        let page = Page::new(&operations).router();
        tokio::spawn(async move { axum::serve(listener, page).await });
    }
    Ok(operations)
}
