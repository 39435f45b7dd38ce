//! `dbctl migrate schema`.

use std::path::PathBuf;

use app_db::Migrator;
use clap::Args;
use db_lint::{SchemaRs, compare};

use crate::command_failure::CommandFailure;
use crate::count::Count;
use crate::exit::Exit;
use crate::migrate::diesel_files;
use crate::output;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Exit with code 5 if they differ
    #[arg(long)]
    check: bool,
    /// The path of schema.rs, instead of the one in diesel.toml or src/schema.rs
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    arguments: &Arguments,
    migrator: &Migrator,
) -> Result<Exit, CommandFailure> {
    let files = diesel_files::read()?;
    let path = arguments.file.as_ref().unwrap_or(&files.schema_rs);
    if arguments.file.is_none() && !path.exists() {
        let path = path.display();
        let problem = format!(
            "there is no {path}: name the file by `--file` or in diesel.toml, or write it with `dbctl migrate schema dump > {path}`"
        );
        return Err(CommandFailure::new(Exit::Configuration, problem));
    }
    let schema = SchemaRs::read(path)?;
    let columns = migrator.columns().await?;
    let differences = compare(&schema, &columns, |table| files.leaves_out(table));
    if arguments.json {
        output::json(&differences)?;
    } else if !differences.is_empty() {
        let mut table = output::table(&["object", "schema.rs", "database"]);
        for difference in &differences {
            table.add_row([
                &difference.object,
                &difference.schema_rs,
                &difference.database,
            ]);
        }
        output::data(table.trim_fmt())?;
    }
    let count = differences.len();
    output::progress(format_args!(
        "{} between {} and the database",
        Count(count, "difference", "differences"),
        path.display()
    ));
    let fails = arguments.check && count > 0;
    Ok(if fails { Exit::OutOfOrder } else { Exit::Done })
}
