//! `dbctl config`.

use app_db::{Config, ConfigError};
use clap::Subcommand;
use serde::Serialize;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print every key with its value and where it was set; secrets are not shown
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Load the configuration and list everything that is wrong with it
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(command: &Command) -> Result<Exit, CommandFailure> {
    match command {
        Command::Show { json } => show(&load()?, *json),
        Command::Check { json } => check(*json),
    }
}

/// Loads the configuration and writes its warnings to standard error.
pub(crate) fn load() -> Result<Config, CommandFailure> {
    let config = Config::load()?;
    for warning in config.warnings() {
        output::progress(format_args!("warning: {warning}"));
    }
    Ok(config)
}

fn show(config: &Config, json: bool) -> Result<Exit, CommandFailure> {
    let explained = config.explain();
    if json {
        let entries: Vec<_> = explained
            .map(|explained| ConfigEntry {
                key: explained.key,
                value: explained.value,
                origin: explained.origin.to_string(),
            })
            .collect();
        output::json(&entries)?;
    } else {
        let mut table = output::table(&["key", "value", "origin"]);
        for explained in explained {
            table.add_row([explained.key, explained.value, explained.origin.to_string()]);
        }
        output::data(table.trim_fmt())?;
    }
    Ok(Exit::Done)
}

/// Lists what is wrong with the configuration. That list is the data of this command, so it goes to
/// standard output.
fn check(json: bool) -> Result<Exit, CommandFailure> {
    let report = ConfigReport::of(&Config::load());
    if json {
        output::json(&report)?;
    } else {
        for problem in &report.problems {
            output::data(format_args!(
                "error: {}: {}",
                problem.place(),
                problem.message
            ))?;
        }
        for warning in &report.warnings {
            output::data(format_args!("warning: {warning}"))?;
        }
        if report.problems.is_empty() {
            output::data(format_args!(
                "the configuration for {} is valid",
                report.environment
            ))?;
        }
    }
    Ok(if report.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Configuration
    })
}

#[derive(Serialize)]
struct ConfigEntry {
    key: String,
    value: String,
    origin: String,
}

#[derive(Default, Serialize)]
struct ConfigReport {
    environment: String,
    problems: Vec<ConfigProblem>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ConfigProblem {
    key: String,
    origin: String,
    message: String,
}

impl ConfigReport {
    /// Reports a missing URL too. Loading does not refuse it, because not every program needs both
    /// URLs.
    fn of(loaded: &Result<Config, ConfigError>) -> Self {
        let mut report = Self::default();
        match loaded {
            Err(error) => report.add(error),
            Ok(config) => {
                report.environment = config.environment().to_string();
                report.warnings = config.warnings().iter().map(ToString::to_string).collect();
                if let Err(error) = config.pooled_url() {
                    report.add(&error);
                }
                if let Err(error) = config.direct_url() {
                    report.add(&error);
                }
            }
        }
        report
    }

    fn add(&mut self, error: &ConfigError) {
        self.problems
            .extend(error.problems().iter().map(|problem| ConfigProblem {
                key: problem.key.clone(),
                origin: problem.origin.to_string(),
                message: problem.message.clone(),
            }));
    }
}

impl ConfigProblem {
    fn place(&self) -> String {
        if self.key == self.origin {
            self.key.clone()
        } else {
            format!("{} ({})", self.key, self.origin)
        }
    }
}
