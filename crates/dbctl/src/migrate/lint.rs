//! `dbctl migrate lint`.

use std::path::PathBuf;

use app_db::{Config, Migrator};
use clap::Args;
use db_lint::{Changes, Format, Linter, Rule, SchemaRs, Sizes};

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::migrate::diesel_files;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// text, json, github, gitlab or sarif
    #[arg(long, default_value = "text")]
    format: Format,
    /// Look only at migrations that have changed since this revision of git, and find edits of older ones
    #[arg(long, value_name = "GITREF")]
    since: Option<String>,
    /// Print what a rule is about and the safe way, and look at nothing
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    /// Ask the server of the direct URL how large the tables are; small ones are no errors
    #[arg(long)]
    server: bool,
    /// Where schema.rs is, instead of what diesel.toml says or src/schema.rs
    #[arg(long, value_name = "FILE")]
    schema_rs: Option<PathBuf>,
}

pub(super) async fn run(arguments: &Arguments, config: &Config) -> Result<Exit, CommandFailure> {
    if let Some(name) = &arguments.explain {
        let rule = Rule::named(name)?;
        output::data(format_args!(
            "{} ({})\n\n{}\n\n{}",
            rule.code,
            rule.severity.as_str(),
            rule.summary,
            rule.recipe
        ))?;
        return Ok(Exit::Done);
    }
    let directory = Migrator::configured_directory(config)?;
    let mut linter = Linter::new(&directory)?;
    if let Some(since) = &arguments.since {
        linter = linter.with_changes(Changes::since(&directory, since)?);
    }
    if let Some(schema) = schema(arguments)? {
        linter = linter.with_schema(schema);
    }
    if arguments.server {
        let plan = Migrator::from_config(config)?
            .allow_both_phases(true)
            .plan()
            .await?;
        linter = linter.with_sizes(Sizes::of(plan));
    }
    let report = linter.run()?;
    let rendered = arguments.format.render(&report);
    if !rendered.is_empty() {
        output::data(rendered)?;
    }
    let (errors, warnings) = (report.errors(), report.warnings());
    output::progress(format_args!("{errors} errors, {warnings} warnings"));
    Ok(if errors > 0 { Exit::Lint } else { Exit::Done })
}

/// The file that was named, or the usual one if it is there.
fn schema(arguments: &Arguments) -> Result<Option<SchemaRs>, CommandFailure> {
    if let Some(path) = &arguments.schema_rs {
        return Ok(Some(SchemaRs::read(path)?));
    }
    let path = diesel_files::read()?.schema_rs;
    Ok(if path.exists() {
        Some(SchemaRs::read(path)?)
    } else {
        None
    })
}
