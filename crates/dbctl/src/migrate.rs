//! `dbctl migrate`.

mod command;
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

use app_db::{Config, Migrator};
use db_lint::Changes;

pub(crate) use self::command::Command;
use self::command::{Chosen, Route, SchemaCommand};
use self::run::Back;
use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;
use crate::progress::Progress;

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
            let lint = chosen.lint;
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
            if lint && lint::find_in_pending(&migrator, config).await? {
                return Ok(Exit::Lint);
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
            }
            if chosen.lint && lint::find_in_pending(&migrator, config).await? {
                return Ok(Exit::Lint);
            }
            if execute_rollback {
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
            since,
            json,
            confirmation,
            files,
            route,
        } => {
            let migrator = reached(&route)?.allow_empty(files.allow_empty);
            if scratch_url.is_none() {
                confirmation.require(config, migrator.database(), "creating a scratch database")?;
            }
            let changes = match since {
                Some(since) => {
                    let directory = Migrator::configured_directory(config)?;
                    Some(Changes::since(&directory, &since)?)
                }
                None => None,
            };
            verify::run(&migrator, scratch_url.as_deref(), changes.as_ref(), json).await
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
