//! `dbctl doctor`.

mod advice;
mod configured_endpoint;
mod examined;
mod on_pgbouncer;
mod on_times;
mod one_advice;
mod said_settings;

use std::fmt::Write;

use app_db::{Config, CurrentCredentials};
use clap::Args;
use serde::Serialize;

use self::examined::Examined;
use self::one_advice::{Advice, Level};
use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments, config: &Config) -> Result<Exit, CommandFailure> {
    let mut endpoints = Vec::new();
    let credentials = CurrentCredentials::fetch(config).await?;
    for mut configured in configured_endpoint::of(config)? {
        configured.endpoint = credentials.applied_to(configured.endpoint);
        endpoints.push(examined::examine(configured).await);
    }
    let advice = advice::on(config, &endpoints);
    let exit = if endpoints.iter().any(|endpoint| endpoint.error.is_some()) {
        Exit::Connection
    } else if advice.iter().any(|advice| advice.level == Level::Problem) {
        Exit::Failed
    } else {
        Exit::Done
    };
    let report = DoctorReport {
        schema: 1,
        healthy: exit == Exit::Done,
        endpoints,
        advice,
    };
    if arguments.json {
        output::json(&report)?;
    } else {
        output::data(report.text().trim_end())?;
    }
    Ok(exit)
}

/// `schema` is raised if a field changes its meaning or is removed. A new field does not raise it.
#[derive(Serialize)]
struct DoctorReport {
    schema: u32,
    healthy: bool,
    endpoints: Vec<Examined>,
    advice: Vec<Advice>,
}

impl DoctorReport {
    fn text(&self) -> String {
        let mut text = String::new();
        for endpoint in &self.endpoints {
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "{}: {} (from {})",
                endpoint.name, endpoint.address, endpoint.origin
            );
            for (name, value) in endpoint.lines() {
                let _ = writeln!(text, "  {name:<14}{value}");
            }
            text.push('\n');
        }
        for advice in &self.advice {
            let _ = writeln!(text, "{advice}");
        }
        if self.healthy {
            text.push_str("all is well\n");
        }
        text
    }
}
