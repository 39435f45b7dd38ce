//! `dbctl migrate schema dump`: the schema as diesel's own tool or pg_dump prints it.

use std::io::ErrorKind;
use std::process::{Output, Stdio};

use app_db::db_config::{ExposeSecret, Host};
use app_db::{Config, CurrentCredentials, Endpoint};
use clap::Args;
use tokio::process::Command;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Print SQL, as pg_dump does, instead of schema.rs
    #[arg(long)]
    sql: bool,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Exit, CommandFailure> {
    let endpoint = Endpoint::from(config.direct_url()?);
    let endpoint = &CurrentCredentials::fetch(config)
        .await?
        .applied_to(endpoint);
    if arguments.sql {
        let dump = print(&mut pg_dump(endpoint), PG_DUMP_MISSING).await?;
        output::data(repeatable(&dump).trim())?;
    } else {
        let schema = print(&mut print_schema(endpoint), DIESEL_MISSING).await?;
        output::data(schema.trim_end())?;
    }
    Ok(Exit::Done)
}

/// diesel's tool reads `diesel.toml` itself.
#[expect(
    clippy::disallowed_methods,
    reason = "the program that dumps has to log in, and reads its environment"
)]
fn print_schema(endpoint: &Endpoint) -> Command {
    let mut diesel = Command::new("diesel");
    diesel.arg("print-schema");
    // Every user of the machine can see the arguments of a process, but only its own user its environment.
    diesel.env("DATABASE_URL", endpoint.to_url().expose_secret());
    diesel
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program that dumps has to log in, and reads its environment"
)]
fn pg_dump(endpoint: &Endpoint) -> Command {
    let mut dump = Command::new("pg_dump");
    dump.args(["--schema-only", "--no-owner", "--no-privileges"]);
    for table in ["__diesel_schema_migrations", "__dbctl_migrations"] {
        dump.args(["--exclude-table", &format!("*.{table}")]);
    }
    let listed = |of: fn(&Host) -> String| {
        let each: Vec<_> = endpoint.hosts.iter().map(of).collect();
        each.join(",")
    };
    dump.env_remove("PGSERVICE")
        .env("PGHOST", listed(name))
        .env("PGHOSTADDR", listed(address))
        .env("PGPORT", listed(|host| host.port().to_string()))
        .env("PGUSER", &endpoint.user)
        .env("PGDATABASE", &endpoint.dbname)
        .env("PGSSLMODE", endpoint.tls.mode.as_str());
    if let Some(password) = &endpoint.password {
        dump.env("PGPASSWORD", password.expose_secret());
    }
    if let Some(root) = &endpoint.tls.root_cert {
        dump.env("PGSSLROOTCERT", root);
    }
    if let Some((cert, key)) = &endpoint.tls.client_cert {
        dump.env("PGSSLCERT", cert).env("PGSSLKEY", key);
    }
    dump
}

fn name(host: &Host) -> String {
    match host {
        Host::Tcp { name, .. } => name.clone(),
        Host::Unix { dir, .. } => dir.to_string_lossy().into_owned(),
    }
}

/// The address of a host, or nothing if pg_dump has to resolve the name.
fn address(host: &Host) -> String {
    match host {
        Host::Tcp {
            addr: Some(addr), ..
        } => addr.to_string(),
        _ => String::new(),
    }
}

/// Runs a program and returns what it prints. Its standard error is ours.
async fn print(program: &mut Command, missing: &str) -> Result<String, CommandFailure> {
    program
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    let name = program
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let failed = |problem: String| CommandFailure::new(Exit::Failed, problem);
    let output: Output = program.output().await.map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::NotFound => missing.to_owned(),
            _ => format!("{name}: {error}"),
        };
        failed(problem)
    })?;
    if !output.status.success() {
        return Err(failed(format!("{name} has failed: {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(format!("{name}: {error}")))
}

/// Removes the lines that differ from dump to dump: the versions, and the random key of `\restrict`.
fn repeatable(dump: &str) -> String {
    let differs = |line: &&str| {
        ["\\restrict ", "\\unrestrict ", "-- Dumped "]
            .iter()
            .any(|begin| line.starts_with(begin))
    };
    let lines: Vec<_> = dump.lines().filter(|line| !differs(line)).collect();
    lines.join("\n")
}

const DIESEL_MISSING: &str = "diesel is not installed: `cargo install diesel_cli --no-default-features \
     --features postgres`, or print SQL with `--sql`";

const PG_DUMP_MISSING: &str = "pg_dump is not installed: it comes with the client programs of PostgreSQL (Debian: \
     postgresql-client)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_dump_to_dump_is_left_out() {
        let dump = "--\n-- Dumped by pg_dump version 18.1\n\\restrict abc\nCREATE TABLE a();\n\\unrestrict abc\n";
        assert_eq!(repeatable(dump), "--\nCREATE TABLE a();");
    }
}
