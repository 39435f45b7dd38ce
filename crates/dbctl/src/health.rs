//! `dbctl health`.

use std::time::Duration;

use app_db::{Config, Database, PoolHealth};
use clap::Args;
use serde::Serialize;

use crate::command_failure::{CommandFailure, chain};
use crate::exit::Exit;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments, config: &Config) -> Result<Exit, CommandFailure> {
    let db = Database::connect(config).await?;
    for name in config.pool_names() {
        // This opens the pool, because health checks only open pools.
        let _ = db.pool(&name);
    }
    let health = db.health().await;
    // Every pool counts here, and not only the write pool.
    let healthy = health.pools().all(PoolHealth::is_healthy);
    let report = HealthReport {
        ready: health.is_ready(),
        pools: health.pools().map(PoolLine::of).collect(),
    };
    db.shutdown(GRACE).await;

    if arguments.json {
        output::json(&report)?;
    } else {
        let mut table = output::table(&["pool", "health", "latency", "connections"]);
        for line in &report.pools {
            table.add_row([
                line.pool.clone(),
                line.error.clone().unwrap_or_else(|| "ok".to_owned()),
                format!("{:.1} ms", line.latency_ms),
                format!("{} of {}", line.open, line.max),
            ]);
        }
        output::data(table.trim_fmt())?;
    }
    Ok(if healthy {
        Exit::Done
    } else {
        Exit::Connection
    })
}

#[derive(Serialize)]
struct HealthReport {
    ready: bool,
    pools: Vec<PoolLine>,
}

#[derive(Serialize)]
struct PoolLine {
    pool: String,
    healthy: bool,
    error: Option<String>,
    latency_ms: f64,
    open: u32,
    idle: u32,
    max: u32,
    generation: u64,
}

impl PoolLine {
    fn of(health: &PoolHealth) -> Self {
        Self {
            pool: health.pool.clone(),
            healthy: health.is_healthy(),
            error: health.error.as_ref().map(|error| chain(error)),
            latency_ms: health.latency.as_secs_f64() * 1000.0,
            open: health.status.open,
            idle: health.status.idle,
            max: health.status.max,
            generation: health.status.generation,
        }
    }
}

/// The probes are over, but the pool may still be making a connection.
const GRACE: Duration = Duration::from_secs(1);
