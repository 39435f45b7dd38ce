//! `dbctl migrate`.

pub(crate) mod confirmation;
mod diesel_files;
mod lint;
mod lock;
mod new;
mod plan;
mod repair;
pub(crate) mod run;
mod schema;
mod schema_dump;
mod status;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use app_db::{Config, Migrator, Phase};
use clap::{Args, Subcommand};

use self::confirmation::Confirmation;
use self::run::Back;
use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;
use crate::progress::Progress;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Apply pending migrations
    #[command(alias = "up")]
    Run {
        #[command(flatten)]
        chosen: Chosen,
        /// Print what would be done, as `plan` does, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Print what would be done as a script for psql, and do nothing
        #[arg(long, conflicts_with_all = ["dry_run", "json"])]
        sql: bool,
        /// Apply only what this file has, which `plan --json` has printed; exit code 5 if anything else is
        /// pending, or a file has changed since
        #[arg(long, value_name = "FILE")]
        plan_file: Option<PathBuf>,
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
        /// End sessions that hold a lock which a migration waits for, if they have been idle in their
        /// transaction for so long, as in `5min`
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        end_idle_blockers: Option<Duration>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Print what a run would do: locks, sizes, and what is written anew; takes no lock by itself
    Plan {
        #[command(flatten)]
        chosen: Chosen,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Run it in a transaction that is rolled back, and print what was really locked and how long it took;
        /// holds those locks until the end
        #[arg(long)]
        execute_rollback: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Revert the newest applied migrations, newest first
    #[command(alias = "down")]
    Revert {
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        step: u32,
        /// Revert all applied migrations
        #[arg(long, conflicts_with = "step")]
        all: bool,
        /// Revert everything that is newer than this version, which stays
        #[arg(long, value_name = "VERSION", conflicts_with_all = ["step", "all"])]
        to: Option<String>,
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// Revert the newest applied migration and apply it again
    Redo {
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
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
    /// Look for what is dangerous in migrations; needs no server; exit code 6 if there are errors
    Lint(lint::Arguments),
    /// Apply, revert and apply every migration in a scratch database, and compare the catalogue
    #[command(alias = "verify-down")]
    Verify {
        /// The URL of an empty database, instead of one that is created beside that of the direct URL
        #[arg(long, value_name = "URL")]
        scratch_url: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// Compare schema.rs with the database, or print the schema
    #[command(args_conflicts_with_subcommands = true)]
    Schema {
        #[command(subcommand)]
        command: Option<SchemaCommand>,
        #[command(flatten)]
        arguments: schema::Arguments,
        #[command(flatten)]
        route: Route,
    },
    /// Record migrations as applied without running them, if the database has what they create
    Baseline {
        /// The last version to record
        #[arg(long, value_name = "VERSION")]
        to: String,
        #[command(flatten)]
        route: Route,
    },
    /// Wait until somebody else has applied the migrations; exit code 7 if that takes too long
    Wait {
        /// How long, as in `5min`
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5min")]
        timeout: Duration,
        #[command(flatten)]
        route: Route,
    },
    /// Show or end the session that has the migrators' lock
    Lock {
        #[command(subcommand)]
        command: lock::Command,
        #[command(flatten)]
        route: Route,
    },
    /// List what is wrong, each with the way out, or put the record of what was applied in order; runs no
    /// migration
    #[command(group = clap::ArgGroup::new("repair").args(["accept", "restart"]))]
    Repair {
        /// Take the `up.sql` of this applied migration, as it is now, for the one that was applied
        #[arg(long, value_name = "VERSION")]
        accept: Option<String>,
        /// Let this unfinished migration start with its first statement again; what has run stays
        #[arg(long, value_name = "VERSION")]
        restart: Option<String>,
        /// With --restart: not with the first statement but with this one, counted from 1, because those before
        /// it have run
        #[arg(long, value_name = "STATEMENT", requires = "restart")]
        at: Option<usize>,
        /// Print the list as JSON
        #[arg(long, conflicts_with = "repair")]
        json: bool,
        #[command(flatten)]
        route: Route,
    },
    /// Make the directory of a new migration, named after the time and NAME
    New {
        /// What the migration does, as in `create_accounts`: lower-case letters, digits and `_`
        name: new::MigrationName,
        #[command(flatten)]
        template: new::Template,
    },
}

#[derive(Subcommand)]
pub(crate) enum SchemaCommand {
    /// Print schema.rs as `diesel print-schema` does, or SQL; the program has to be installed
    Dump(schema_dump::Arguments),
}

/// Which of the pending migrations.
#[derive(Args)]
pub(crate) struct Chosen {
    /// Apply nothing beyond this version
    #[arg(long, value_name = "VERSION")]
    to: Option<String>,
    /// Apply so many at most
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
    /// Apply those of one phase: `expand` before the new code starts, `contract` after the old code is gone
    #[arg(long, value_name = "PHASE")]
    phase: Option<Phase>,
    /// Apply pending migrations that are older than an applied one too
    #[arg(long)]
    allow_out_of_order: bool,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    route: Route,
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

pub(crate) async fn run(
    command: Command,
    config: &Config,
    progress: &Progress,
) -> Result<Exit, CommandFailure> {
    let reached = |route: &Route| -> Result<Migrator, CommandFailure> {
        Ok(Migrator::from_config(config)?.through_proxy(route.through_proxy))
    };
    match command {
        Command::Run {
            chosen,
            dry_run,
            sql,
            plan_file,
            json,
            end_idle_blockers,
            confirmation,
        } => {
            let mut migrator = chosen.migrator(config)?;
            if let Some(file) = plan_file {
                migrator = migrator.approved(plan::read(&file)?);
            }
            if let Some(limit) = end_idle_blockers {
                confirmation.require(config, migrator.database(), "ending sessions")?;
                migrator = migrator.end_idle_blockers(limit);
            }
            if confirmation.is_given() {
                confirmation.require_name(migrator.database(), "applying both phases")?;
                migrator = migrator.allow_both_phases(true);
            }
            if dry_run {
                plan::show(&migrator, json).await
            } else if sql {
                output::data(migrator.script().await?.trim_end())?;
                Ok(Exit::Done)
            } else {
                run::apply(migrator, json, progress).await
            }
        }
        Command::Plan {
            chosen,
            json,
            execute_rollback,
            confirmation,
        } => {
            let migrator = chosen.migrator(config)?;
            if execute_rollback {
                confirmation.require(config, migrator.database(), "taking locks")?;
                return plan::rehearse(&migrator, json).await;
            }
            plan::show(&migrator, json).await
        }
        Command::Revert {
            step,
            all,
            to,
            json,
            confirmation,
            files,
            route,
        } => {
            let migrator = reached(&route)?.allow_empty(files.allow_empty);
            confirmation.require(config, migrator.database(), "reverting")?;
            let back = match to {
                Some(version) => Back::To(version),
                None if all => Back::All,
                None => Back::Steps(step),
            };
            run::revert(migrator, back, json, progress).await
        }
        Command::Redo {
            json,
            confirmation,
            files,
            route,
        } => {
            let migrator = reached(&route)?.allow_empty(files.allow_empty);
            confirmation.require(config, migrator.database(), "reverting")?;
            run::redo(migrator, json, progress).await
        }
        Command::Status { json, check, route } => {
            status::run(&reached(&route)?, json, check, route.through_proxy).await
        }
        Command::Lint(arguments) => lint::run(&arguments, config).await,
        Command::Verify {
            scratch_url,
            json,
            confirmation,
            files,
            route,
        } => {
            let migrator = reached(&route)?.allow_empty(files.allow_empty);
            if scratch_url.is_none() {
                confirmation.require(config, migrator.database(), "creating a scratch database")?;
            }
            verify::run(&migrator, scratch_url.as_deref(), json).await
        }
        Command::Schema {
            command,
            arguments,
            route,
        } => match command {
            Some(SchemaCommand::Dump(arguments)) => schema_dump::run(&arguments, config).await,
            None => schema::run(&arguments, &reached(&route)?).await,
        },
        Command::Baseline { to, route } => baseline(&reached(&route)?, &to).await,
        Command::Wait { timeout, route } => {
            reached(&route)?.wait(timeout).await?;
            Ok(Exit::Done)
        }
        Command::Lock { command, route } => lock::run(&command, &reached(&route)?).await,
        Command::Repair {
            accept,
            restart,
            at,
            json,
            route,
        } => {
            let migrator = reached(&route)?;
            match (accept, restart) {
                (Some(version), _) => repair::accept(&migrator, &version).await,
                (None, Some(version)) => repair::restart(&migrator, &version, at).await,
                (None, None) => repair::list(&migrator, json).await,
            }
        }
        Command::New { name, template } => {
            let directory = Migrator::configured_directory(config)?;
            output::data(new::create(&directory, &name, &template)?.display())?;
            Ok(Exit::Done)
        }
    }
}

impl Chosen {
    fn migrator(&self, config: &Config) -> Result<Migrator, CommandFailure> {
        let mut migrator = Migrator::from_config(config)?
            .through_proxy(self.route.through_proxy)
            .allow_empty(self.files.allow_empty)
            .allow_out_of_order(self.allow_out_of_order);
        if let Some(version) = &self.to {
            migrator = migrator.to(version);
        }
        if let Some(count) = self.step {
            migrator = migrator.at_most(count);
        }
        if let Some(phase) = self.phase {
            migrator = migrator.phase(phase);
        }
        Ok(migrator)
    }
}

async fn baseline(migrator: &Migrator, to: &str) -> Result<Exit, CommandFailure> {
    let recorded = migrator.baseline(to).await?;
    for title in &recorded {
        output::progress(format_args!("recorded {title}"));
    }
    if recorded.is_empty() {
        output::progress("nothing to do");
    }
    Ok(Exit::Done)
}
