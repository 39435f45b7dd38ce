//! What the layer shows about itself: metrics, the page, the monitor, alerts, sizes.

mod alerts;
mod browser;
mod connections;
mod hostile_alerts;
mod local_servers;
mod metrics;
mod monitor;
pub(crate) mod page;
mod page_in_a_browser;
mod prometheus;
mod promtool;
mod scrape;
mod server;
mod settings;
mod sizing;
mod top;

use std::time::Duration;

use app_db::{Connection, Database, Pool};
use db_observe::{AlertOptions, MonitorOptions, Operations};
use diesel_async::SimpleAsyncConnection;

/// Operations that look often, with a monitor that looks seldom.
fn watching(db: &Database, alerts: AlertOptions) -> Operations {
    Operations::of(db)
        .alerts(alerts)
        .interval(Duration::from_millis(10))
        .monitor(rarely())
        .start()
}

fn rarely() -> MonitorOptions {
    let mut options = MonitorOptions::default();
    options.interval = Duration::from_secs(3_600);
    options
}

/// Runs a statement on a pool, whatever becomes of it.
async fn run(pool: &Pool, sql: &str) {
    ask(&mut pool.get().await.unwrap(), sql).await;
}

/// The same on a connection that somebody holds.
async fn ask(conn: &mut Connection, sql: &str) {
    // The server's refusal is what some tests want.
    let _ = conn.batch_execute(sql).await;
}
