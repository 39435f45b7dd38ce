//! `dbctl connections`.

mod sessions;

use std::time::Duration;

use app_db::db_pool::connect_client;
use app_db::{Config, CurrentCredentials, Endpoint, PoolProfile};
use clap::Args;

use self::sessions::Sessions;
use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// End sessions that have been idle outside a transaction for this time, such as `10min`
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    terminate_idle: Option<Duration>,
    /// The name of the database, required in production to end a session
    #[arg(long, value_name = "DATABASE")]
    confirm: Option<String>,
}

/// Asks the server itself if there is a direct URL. Through a pooler, only the pooler's own sessions
/// would be seen.
pub(crate) async fn run(arguments: &Arguments, config: &Config) -> Result<Exit, CommandFailure> {
    let (endpoint, is_direct) = match (config.direct_url(), config.pooled_url()) {
        (Ok(url), _) => (Endpoint::from(url), true),
        (Err(_), Ok(url)) => (Endpoint::from(url), false),
        (Err(error), Err(_)) => return Err(error.into()),
    };
    if arguments.terminate_idle.is_some() {
        confirm(arguments, config, &endpoint.dbname)?;
    }
    let endpoint = CurrentCredentials::fetch(config)
        .await?
        .applied_to(endpoint);
    let client = connect_client(&endpoint, CONNECT_TIMEOUT)
        .await
        .map_err(|error| CommandFailure::new(Exit::Connection, error))?;
    let asking = async {
        let ended = match arguments.terminate_idle {
            Some(idle) => Some(sessions::end_idle(&client, idle).await?),
            None => None,
        };
        let ours = application_names(config)?;
        let mut sessions = Sessions::read(&client, &ours).await?;
        sessions.ended = ended;
        sessions.is_direct = is_direct;
        Ok::<_, CommandFailure>(sessions)
    };
    let sessions = tokio::time::timeout(ANSWER_TIMEOUT, asking)
        .await
        .map_err(|_elapsed| {
            let error = format!("the server does not answer within {ANSWER_TIMEOUT:?}");
            CommandFailure::new(Exit::Connection, error)
        })??;
    if arguments.json {
        output::json(&sessions)?;
    } else {
        output::data(sessions.text().trim_end())?;
    }
    Ok(Exit::Done)
}

/// Production asks for the name of the database, so that nobody ends the sessions of another one.
fn confirm(arguments: &Arguments, config: &Config, database: &str) -> Result<(), CommandFailure> {
    let environment = config.environment();
    let problem = match arguments.confirm.as_deref() {
        Some(given) if given == database => return Ok(()),
        None if !environment.is_production() => return Ok(()),
        Some(given) => format!("--confirm {given}: the database is {database}"),
        None => format!("ending sessions in {environment} needs `--confirm {database}`"),
    };
    Err(CommandFailure::new(Exit::Configuration, problem))
}

/// The names under which the server knows the pools of this configuration.
fn application_names(config: &Config) -> Result<Vec<String>, CommandFailure> {
    let mut names = Vec::new();
    for pool in config.pool_names() {
        names.push(PoolProfile::from_config(config, &pool)?.application_name);
    }
    names.push(PoolProfile::from_config(config, "write")?.application_name);
    Ok(names)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
