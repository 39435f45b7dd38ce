//! `dbctl migrate repair`.

use app_db::Migrator;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

/// Prints each problem with its remedy.
pub(super) async fn list(migrator: &Migrator, json: bool) -> Result<Exit, CommandFailure> {
    let damage = migrator.damage().await?;
    if json {
        output::json(&damage)?;
    } else if damage.is_empty() {
        output::progress("nothing to repair");
    } else {
        let mut table = output::table(&["object", "problem", "way out"]);
        for damage in &damage {
            table.add_row([damage.object(), damage.problem(), damage.remedy()]);
        }
        output::data(table.trim_fmt())?;
    }
    Ok(Exit::Done)
}

/// Takes an edited file for the one that was applied.
pub(super) async fn accept(migrator: &Migrator, version: &str) -> Result<Exit, CommandFailure> {
    migrator.accept(version).await?;
    output::progress(format_args!("accepted {version}"));
    Ok(Exit::Done)
}

/// Lets a migration start again, from its beginning or from a statement.
pub(super) async fn restart(
    migrator: &Migrator,
    version: &str,
    at: Option<usize>,
) -> Result<Exit, CommandFailure> {
    match at {
        None => {
            migrator.restart(version).await?;
            output::progress(format_args!("{version} starts again from its beginning"));
        }
        Some(statement) => {
            migrator.resume_at(version, statement).await?;
            output::progress(format_args!("{version} goes on with statement {statement}"));
        }
    }
    Ok(Exit::Done)
}
