#![doc = include_str!("../README.md")]

mod advise;
mod command_failure;
mod config;
mod connections;
mod count;
mod credentials;
mod database;
mod doctor;
mod exit;
mod health;
mod migrate;
mod output;
mod progress;
mod top;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use self::command_failure::CommandFailure;
use self::exit::{EXIT_CODES, Exit};
use self::progress::Progress;

/// Migrations, configuration, health and diagnosis of the database behind this directory's configuration.
///
/// Reads `config/*.toml`, `.env` and the environment of the current directory; APP_ENV chooses the
/// environment.
#[derive(Parser)]
#[command(name = "dbctl", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply, revert, list and create migrations, on the direct URL
    #[command(subcommand, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
    Migrate(migrate::Command),
    /// Create or drop the database of the direct URL
    #[command(subcommand, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
    Database(database::Command),
    /// Show the configuration in force, or check it
    #[command(subcommand)]
    Config(config::Command),
    /// Check the source of user and password
    #[command(subcommand, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
    Credentials(credentials::Command),
    /// Connect every pool and report its health; exit code 8 unless all of them are healthy
    Health(health::Arguments),
    /// Connect to every URL and report what stands in front of the server, what the server allows, and what to change
    #[command(after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
    Doctor(doctor::Arguments),
    /// Advise on the sizes of the pools, with the inputs of each number
    Advise(advise::Arguments),
    /// List the sessions of the database: their states, who blocks whom, and which belong to app-db
    #[command(after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
    Connections(connections::Arguments),
    /// Show a running service's pools live, from its status page
    Top(top::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let progress = Progress::new();
    let log = progress.clone();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| DEFAULT_LOG.into()))
        .with_writer(move || log.clone())
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
        .init();

    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report(&CommandFailure::new(Exit::Failed, error)),
    };
    let outcome = runtime.block_on(run(cli.command, &progress));
    progress.clear();
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure),
    }
}

/// Runs a command until it ends or a signal arrives. A signal drops what is in progress, and the server
/// rolls it back when this process closes its connection.
async fn run(command: Command, progress: &Progress) -> Result<Exit, CommandFailure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = dispatch(command, progress) => result,
        _ = interrupt.recv() => Err(CommandFailure::interrupted("SIGINT")),
        _ = terminate.recv() => Err(CommandFailure::interrupted("SIGTERM")),
    }
}

async fn dispatch(command: Command, progress: &Progress) -> Result<Exit, CommandFailure> {
    match command {
        Command::Migrate(command) => migrate::run(command, &config::load()?, progress).await,
        Command::Database(command) => database::run(command, &config::load()?, progress).await,
        Command::Config(command) => config::run(&command),
        Command::Credentials(command) => credentials::run(&command, &config::load()?).await,
        Command::Health(arguments) => health::run(&arguments, &config::load()?).await,
        Command::Doctor(arguments) => doctor::run(&arguments, &config::load()?).await,
        Command::Advise(arguments) => advise::run(&arguments, &config::load()?).await,
        Command::Connections(arguments) => connections::run(&arguments, &config::load()?).await,
        Command::Top(arguments) => top::run(&arguments).await,
    }
}

/// Writes the error and its causes as one message.
fn report(failure: &CommandFailure) -> ExitCode {
    output::progress(format_args!("error: {failure}"));
    failure.exit().into()
}

const DEFAULT_LOG: &str = "warn,app_db::migrate=info";
