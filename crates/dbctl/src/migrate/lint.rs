//! `dbctl migrate lint`.

use std::path::{Path, PathBuf};

use app_db::{Config, Migrator};
use clap::Args;
use db_lint::{Changes, Format, Linter, Rule, SchemaRs, Sizes};

use crate::command_failure::CommandFailure;
use crate::count::Count;
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
    /// Explain a rule and the safe way, and look at no migration
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    /// Ask the server of the direct URL how large the tables are; small ones are no errors
    #[arg(long)]
    server: bool,
    /// The path of schema.rs, instead of the one in diesel.toml or src/schema.rs
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
    if let Some(schema) = schema(arguments.schema_rs.as_deref())? {
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
    output::progress(format_args!(
        "{}, {}",
        Count(errors, "error", "errors"),
        Count(warnings, "warning", "warnings")
    ));
    Ok(if errors > 0 { Exit::Lint } else { Exit::Done })
}

/// Prints what is dangerous in the migrations that `migrator` would apply now, and returns whether any of it is an
/// error. People read the list, so it goes to standard error.
pub(super) async fn find_in_pending(
    migrator: &Migrator,
    config: &Config,
) -> Result<bool, CommandFailure> {
    let plan = migrator.plan().await?;
    let paths: Vec<PathBuf> = plan
        .iter()
        .map(|migration| migration.path.clone())
        .collect();
    let mut linter = Linter::new(Migrator::configured_directory(config)?)?
        .with_only(paths.iter().map(PathBuf::as_path))
        .with_sizes(Sizes::of(plan));
    if let Some(schema) = schema(None)? {
        linter = linter.with_schema(schema);
    }
    let report = linter.run()?;
    let text = Format::Text.render(&report);
    if !text.is_empty() {
        output::progress(text);
    }
    let (errors, warnings) = (report.errors(), report.warnings());
    output::progress(format_args!(
        "{}, {}",
        Count(errors, "error", "errors"),
        Count(warnings, "warning", "warnings")
    ));
    Ok(errors > 0)
}

/// The file that was named, or the usual one if it is there.
fn schema(named: Option<&Path>) -> Result<Option<SchemaRs>, CommandFailure> {
    if let Some(path) = named {
        return Ok(Some(SchemaRs::read(path)?));
    }
    let path = diesel_files::read()?.schema_rs;
    Ok(if path.exists() {
        Some(SchemaRs::read(path)?)
    } else {
        None
    })
}
