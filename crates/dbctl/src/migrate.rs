//! `dbctl migrate`.

mod new;

use std::path::PathBuf;

use app_db::{Config, FinishedMigration, Migrator};
use clap::{Args, Subcommand};
use serde::Deserialize;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Apply all pending migrations
    Run {
        /// Apply pending migrations that are older than an applied one too
        #[arg(long)]
        allow_out_of_order: bool,
        #[command(flatten)]
        route: Route,
    },
    /// Revert the newest applied migrations, newest first
    Revert {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        step: u32,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        route: Route,
    },
    /// Revert the newest applied migration and apply it again
    Redo {
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        route: Route,
    },
    /// List all migrations with their state
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with code 3 if migrations are pending
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        route: Route,
    },
    /// Make the directory of a new migration, named after the time and NAME
    New {
        /// What the migration does, as in `create_accounts`: lower-case letters, digits and `_`
        name: new::MigrationName,
    },
}

#[derive(Args)]
pub(crate) struct Confirmation {
    /// The name of the database; needed in production
    #[arg(long, value_name = "DBNAME")]
    confirm: Option<String>,
}

#[derive(Args)]
pub(crate) struct Route {
    /// Accept a proxy in front of the server that keeps one server connection per client
    #[arg(long)]
    through_proxy: bool,
}

pub(crate) async fn run(command: Command, config: &Config) -> Result<Exit, CommandFailure> {
    match command {
        Command::Run {
            allow_out_of_order,
            route,
        } => {
            let migrator = migrator(config, &route)?.allow_out_of_order(allow_out_of_order);
            summarise(&migrator.run().await?, "applied")
        }
        Command::Revert {
            step,
            confirmation,
            route,
        } => {
            let migrator = migrator(config, &route)?;
            confirm(config, &migrator, &confirmation)?;
            summarise(&migrator.revert(step).await?, "reverted")
        }
        Command::Redo {
            confirmation,
            route,
        } => {
            let migrator = migrator(config, &route)?;
            confirm(config, &migrator, &confirmation)?;
            summarise(migrator.redo().await?.as_slice(), "redone")
        }
        Command::Status { json, check, route } => {
            status(&migrator(config, &route)?, json, check).await
        }
        Command::New { name } => {
            let section: Section = config.section("migrations")?;
            output::data(new::create(&section.directory, &name)?.display())?;
            Ok(Exit::Done)
        }
    }
}

async fn status(migrator: &Migrator, json: bool, check: bool) -> Result<Exit, CommandFailure> {
    let status = migrator.status().await?;
    if json {
        output::json(&status)?;
    } else {
        let mut table = output::table(&["version", "name", "state", "applied at"]);
        for migration in &status {
            table.add_row([
                migration.version.as_str(),
                &migration.name,
                migration.state.as_str(),
                migration.applied_at.as_deref().unwrap_or_default(),
            ]);
        }
        output::data(table.trim_fmt())?;
    }
    let pending = status.iter().any(|migration| migration.state.is_pending());
    Ok(if check && pending {
        Exit::Pending
    } else {
        Exit::Done
    })
}

fn migrator(config: &Config, route: &Route) -> Result<Migrator, CommandFailure> {
    Ok(Migrator::from_config(config)?.through_proxy(route.through_proxy))
}

/// In production it reverts nothing unless the caller names the database.
fn confirm(
    config: &Config,
    migrator: &Migrator,
    confirmation: &Confirmation,
) -> Result<(), CommandFailure> {
    let database = migrator.database();
    let given = confirmation.confirm.as_deref();
    if given == Some(database) || (given.is_none() && !config.environment().is_production()) {
        return Ok(());
    }
    let environment = config.environment();
    Err(CommandFailure::new(
        Exit::Configuration,
        match given {
            None => format!("reverting in {environment} needs `--confirm {database}`"),
            Some(given) => format!("--confirm {given}: the database is {database}"),
        },
    ))
}

/// Reports how many migrations it was. The migrator logs each of them as it happens.
fn summarise(finished: &[FinishedMigration], done: &str) -> Result<Exit, CommandFailure> {
    match finished.len() {
        0 => output::progress("nothing to do"),
        1 => output::progress(format_args!("1 migration {done}")),
        count => output::progress(format_args!("{count} migrations {done}")),
    }
    Ok(Exit::Done)
}

#[derive(Deserialize)]
struct Section {
    directory: PathBuf,
}
