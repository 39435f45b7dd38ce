//! `dbctl credentials`.

use std::time::Duration;

use app_db::{CheckedLogin, Config, CredentialCheck};
use clap::Subcommand;
use serde::Serialize;

use crate::command_failure::{CommandFailure, chain};
use crate::exit::Exit;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Fetch the credentials and log in with them once for each pool, without changing anything. Exit code 8 unless
    /// all logins work
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: &Command, config: &Config) -> Result<Exit, CommandFailure> {
    let Command::Check { json } = command;
    let check = CredentialCheck::run(config).await?;
    let report = CheckReport::of(&check);
    if *json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(match check.is_accepted() {
        true => Exit::Done,
        false => Exit::Connection,
    })
}

fn print(report: &CheckReport) -> Result<(), CommandFailure> {
    let life = match (report.expires_in_s, report.is_lease) {
        (None, _) => "they do not expire".to_owned(),
        (Some(seconds), is_lease) => {
            let left = humantime::format_duration(Duration::from_secs(seconds));
            let what = if is_lease {
                "the lease ends"
            } else {
                "they expire"
            };
            format!("{what} in {left}")
        }
    };
    let (source, user) = (&report.source, &report.user);
    output::data(format_args!("source {source}, user {user}; {life}"))?;
    let mut table = output::table(&["pool", "address", "user", "secret", "login"]);
    for login in &report.logins {
        table.add_row([
            login.pool.clone(),
            login.address.clone(),
            login.user.clone(),
            (if login.is_fallback {
                "fallback"
            } else {
                "first"
            })
            .to_owned(),
            login.error.clone().unwrap_or_else(|| "ok".to_owned()),
        ]);
    }
    output::data(table.trim_fmt())
}

#[derive(Serialize)]
struct CheckReport {
    source: &'static str,
    user: String,
    accepted: bool,
    expires_in_s: Option<u64>,
    is_lease: bool,
    host: Option<String>,
    logins: Vec<LoginLine>,
}

#[derive(Serialize)]
struct LoginLine {
    pool: String,
    address: String,
    user: String,
    is_fallback: bool,
    error: Option<String>,
}

impl CheckReport {
    fn of(check: &CredentialCheck) -> Self {
        Self {
            source: check.source,
            user: check.user.clone(),
            accepted: check.is_accepted(),
            expires_in_s: check.expires_in.map(|left| left.as_secs()),
            is_lease: check.is_lease,
            host: check.host.clone(),
            logins: check.logins.iter().map(LoginLine::of).collect(),
        }
    }
}

impl LoginLine {
    fn of(login: &CheckedLogin) -> Self {
        Self {
            pool: login.pool.clone(),
            address: login.address.clone(),
            user: login.user.clone(),
            is_fallback: login.is_fallback,
            error: login.error.as_ref().map(|error| chain(error)),
        }
    }
}
