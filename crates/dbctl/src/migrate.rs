//! `dbctl migrate`.

mod new;

use std::path::PathBuf;
use std::time::Duration;

use app_db::{Config, FinishedMigration, MigrationState, Migrator};
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
        /// End sessions that hold a lock which a migration waits for, if they have been idle in their
        /// transaction for so long, as in `5min`
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        end_idle_blockers: Option<Duration>,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// Revert the newest applied migrations, newest first
    Revert {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        step: u32,
        /// Revert all applied migrations
        #[arg(long, conflicts_with = "step")]
        all: bool,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// Revert the newest applied migration and apply it again
    Redo {
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// List all migrations with their state
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with code 5 if an applied migration was edited, or 3 if migrations are pending
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        route: Route,
    },
    /// Put the record of what was applied in order; runs no migration
    #[command(group = clap::ArgGroup::new("repair").required(true).args(["accept", "restart"]))]
    Repair {
        /// Take the `up.sql` of this applied migration, as it is now, for the one that was applied
        #[arg(long, value_name = "VERSION")]
        accept: Option<String>,
        /// Let this unfinished migration start with its first statement again; what has run stays
        #[arg(long, value_name = "VERSION")]
        restart: Option<String>,
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
    /// The name of the database; needed in production to revert, or to end sessions
    #[arg(long, value_name = "DBNAME")]
    confirm: Option<String>,
}

#[derive(Args)]
pub(crate) struct Route {
    /// Accept a proxy in front of the server that keeps one server connection per client
    #[arg(long)]
    through_proxy: bool,
}

#[derive(Args)]
pub(crate) struct Files {
    /// Accept a file without any statement, as one that has only comments
    #[arg(long)]
    allow_empty: bool,
}

pub(crate) async fn run(command: Command, config: &Config) -> Result<Exit, CommandFailure> {
    match command {
        Command::Run {
            allow_out_of_order,
            end_idle_blockers,
            confirmation,
            files,
            route,
        } => {
            let mut migrator = migrator(config, &route)?
                .allow_empty(files.allow_empty)
                .allow_out_of_order(allow_out_of_order);
            if let Some(limit) = end_idle_blockers {
                confirm(config, &migrator, &confirmation, "ending sessions")?;
                migrator = migrator.end_idle_blockers(limit);
            }
            summarise(&migrator.run().await?, "applied")
        }
        Command::Revert {
            step,
            all,
            confirmation,
            files,
            route,
        } => {
            let migrator = migrator(config, &route)?.allow_empty(files.allow_empty);
            confirm(config, &migrator, &confirmation, "reverting")?;
            let step = if all { u32::MAX } else { step };
            summarise(&migrator.revert(step).await?, "reverted")
        }
        Command::Redo {
            confirmation,
            files,
            route,
        } => {
            let migrator = migrator(config, &route)?.allow_empty(files.allow_empty);
            confirm(config, &migrator, &confirmation, "reverting")?;
            summarise(migrator.redo().await?.as_slice(), "redone")
        }
        Command::Status { json, check, route } => {
            status(&migrator(config, &route)?, json, check).await
        }
        Command::Repair {
            accept,
            restart,
            route,
        } => {
            let migrator = migrator(config, &route)?;
            if let Some(version) = accept {
                migrator.accept(&version).await?;
                output::progress(format_args!("accepted {version}"));
            }
            if let Some(version) = restart {
                migrator.restart(&version).await?;
                output::progress(format_args!("{version} starts again from its beginning"));
            }
            Ok(Exit::Done)
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
    let any = |state: fn(MigrationState) -> bool| status.iter().any(|m| state(m.state));
    Ok(if check && any(|state| state == MigrationState::Drifted) {
        Exit::OutOfOrder
    } else if check && any(MigrationState::is_pending) {
        Exit::Pending
    } else {
        Exit::Done
    })
}

fn migrator(config: &Config, route: &Route) -> Result<Migrator, CommandFailure> {
    Ok(Migrator::from_config(config)?.through_proxy(route.through_proxy))
}

/// In production it undoes and ends nothing unless the caller names the database.
fn confirm(
    config: &Config,
    migrator: &Migrator,
    confirmation: &Confirmation,
    deed: &str,
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
            None => format!("{deed} in {environment} needs `--confirm {database}`"),
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
