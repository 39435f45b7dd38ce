//! `dbctl advise`.

use std::fmt::Write;
use std::time::Duration;

use app_db::db_pool::connect_client;
use app_db::{Config, CurrentCredentials, Endpoint, PoolProfile};
use clap::Args;
use db_observe::{AdviceReport, Load};
use serde::Serialize;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;
use crate::top::status_page::StatusPage;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Use the measurements of a running service, from its status page
    #[arg(long, value_name = "URL")]
    status: Option<String>,
    /// Checkouts in a second, of one instance
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    rate: Option<f64>,
    /// How long a connection is held on average, such as `20ms`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    hold: Option<Duration>,
    /// How long a caller may wait; 1 in 100 may wait longer
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    target: Option<Duration>,
    /// Users at the same time, of one instance
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    users: Option<f64>,
    /// Operations on the database that a request runs at the same time, on average
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    operations: Option<f64>,
    /// The factor for unknown influences
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    safety: Option<f64>,
    /// Cores of the server
    #[arg(long, value_name = "COUNT")]
    cores: Option<u32>,
    /// Disks of the server that seek at the same time
    #[arg(long, value_name = "COUNT")]
    spindles: Option<u32>,
    /// Tasks at the same time that take several connections each
    #[arg(long, value_name = "COUNT", requires = "connections_each")]
    tasks: Option<u32>,
    /// How many connections each of these tasks takes
    #[arg(long, value_name = "COUNT", requires = "tasks")]
    connections_each: Option<u32>,
    /// Instances of the service that share the server
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    instances: Option<u32>,
}

pub(crate) async fn run(arguments: &Arguments, config: &Config) -> Result<Exit, CommandFailure> {
    let mut advice = Vec::new();
    if let Some(url) = &arguments.status {
        advice.extend(StatusPage::new(url)?.read().await?.advice);
    }
    let write = PoolProfile::from_config(config, "write")?;
    let mut load = Load::default();
    load.rate = arguments.rate;
    load.hold = arguments.hold;
    load.target = arguments.target;
    load.users = arguments.users;
    load.operations = arguments.operations;
    load.safety = arguments.safety;
    load.cores = arguments.cores;
    load.spindles = arguments.spindles;
    load.nested = arguments.tasks.zip(arguments.connections_each);
    load.instances = arguments.instances;
    load.server = server(config).await;
    load.settings = Some(write.settings());
    let given = load.advice();
    advice.extend(given.iter().map(|advice| AdviceReport::of("write", advice)));

    let report = AdviseReport { schema: 1, advice };
    if arguments.json {
        output::json(&report)?;
    } else {
        output::data(report.text().trim_end())?;
    }
    Ok(Exit::Done)
}

/// `schema` is raised if a field changes its meaning or is removed.
#[derive(Serialize)]
struct AdviseReport {
    schema: u32,
    advice: Vec<AdviceReport>,
}

impl AdviseReport {
    fn text(&self) -> String {
        let mut text = String::new();
        for advice in &self.advice {
            let inputs: Vec<_> = advice
                .inputs
                .iter()
                .map(|input| format!("{} {}", input.name, input.value))
                .collect();
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "{}: {}: {}",
                advice.pool, advice.about, advice.sentence
            );
            if !inputs.is_empty() {
                let _ = write!(text, "\n  from {}", inputs.join(", "));
            }
            text.push('\n');
        }
        if self.advice.is_empty() {
            text.push_str(
                "there are no numbers to give advice on: see --status, --rate and --hold, --users and \
                 --operations, --cores\n",
            );
        }
        text
    }
}

/// How many connections the server has, and how many of them are reserved, if the server can be
/// asked.
async fn server(config: &Config) -> Option<(u32, u32)> {
    let direct = config.direct_url().map(Endpoint::from);
    let endpoint = direct
        .or_else(|_| config.pooled_url().map(Endpoint::from))
        .ok()?;
    let asking = async {
        let credentials = CurrentCredentials::fetch(config).await;
        let credentials = credentials.map_err(|error| error.to_string())?;
        let endpoint = credentials.applied_to(endpoint);
        let client = connect_client(&endpoint, PATIENCE)
            .await
            .map_err(|error| error.to_string())?;
        let rows = client
            .query_typed(LIMITS, &[])
            .await
            .map_err(|error| error.to_string())?;
        let row = rows.first().ok_or("no answer")?;
        let number = |at| row.try_get::<_, i64>(at).map_err(|error| error.to_string());
        Ok::<_, String>((number(0)?, number(1)?))
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    match asked.unwrap_or_else(|_elapsed| Err(format!("no answer within {PATIENCE:?}"))) {
        Ok((max, reserved)) => Some((u32::try_from(max).ok()?, u32::try_from(reserved).ok()?)),
        Err(error) => {
            output::progress(format_args!("the server's limits are not known: {error}"));
            None
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number above zero".to_owned()),
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

const LIMITS: &str = "\
SELECT current_setting('max_connections')::bigint,
       current_setting('superuser_reserved_connections')::bigint
         + coalesce(current_setting('reserved_connections', true)::bigint, 0)";
