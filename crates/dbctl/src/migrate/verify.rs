//! `dbctl migrate verify`.

use app_db::{DirectUrl, Migrator, VerifiedMigration};
use db_lint::Changes;

use crate::command_failure::CommandFailure;
use crate::count::Count;
use crate::exit::Exit;
use crate::output;

/// Applies, reverts and applies every migration in a scratch database, and prints what `down.sql` did not restore.
pub(super) async fn run(
    migrator: &Migrator,
    scratch: Option<&str>,
    changes: Option<&Changes>,
    json: bool,
) -> Result<Exit, CommandFailure> {
    let scratch = scratch.map(DirectUrl::parse).transpose()?;
    let verified = migrator
        .verify_some(scratch.as_ref(), |migration| {
            changes.is_none_or(|changes| changes.has(&migration.path))
        })
        .await?;
    if json {
        output::json(&verified)?;
    } else {
        for migration in &verified.migrations {
            print(migration)?;
        }
    }
    let one_way = verified.migrations.iter().filter(|m| !m.reversible).count();
    let wrong = verified.migrations.iter().filter(|m| !m.is_clean()).count();
    output::progress(format_args!(
        "{} verified: {wrong} not taken back by their down.sql, {one_way} without one",
        Count(verified.migrations.len(), "migration", "migrations")
    ));
    Ok(if verified.is_clean() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn print(migration: &VerifiedMigration) -> Result<(), CommandFailure> {
    let title = format!("{}_{}", migration.version, migration.name);
    let kinds = [
        ("left behind by down.sql", &migration.left),
        ("not brought back by down.sql", &migration.missing),
        ("not as before after down.sql", &migration.changed),
        (
            "different after up.sql has run again",
            &migration.different_again,
        ),
    ];
    for (what, objects) in kinds {
        for object in objects {
            output::data(format_args!("{title}: {object} is {what}"))?;
        }
    }
    Ok(())
}
