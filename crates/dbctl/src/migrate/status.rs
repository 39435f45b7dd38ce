//! `dbctl migrate status`.

use app_db::{MigrationState, Migrator};

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(
    migrator: &Migrator,
    json: bool,
    check: bool,
) -> Result<Exit, CommandFailure> {
    let status = migrator.status().await?;
    if json {
        output::json(&status)?;
    } else {
        let header = [
            "version",
            "name",
            "state",
            "applied at",
            "checksum",
            "phase",
            "transaction",
        ];
        let mut table = output::table(&header);
        for migration in &status {
            let transaction = migration.run_in_transaction;
            table.add_row([
                migration.version.as_str(),
                &migration.name,
                migration.state.as_str(),
                migration.applied_at.as_deref().unwrap_or_default(),
                migration.checksum.map_or("", |checksum| checksum.as_str()),
                migration.phase.map_or("", |phase| phase.as_str()),
                transaction.map_or("", |transaction| if transaction { "yes" } else { "no" }),
            ]);
        }
        output::data(table.trim_fmt())?;
        let lock = migrator.lock_info().await?;
        if let Some(holder) = lock.holder {
            output::progress(format_args!("the migrators' lock is held by {holder}"));
        }
    }
    let any = |state: fn(MigrationState) -> bool| status.iter().any(|m| state(m.state));
    Ok(if check && any(|state| state == MigrationState::Drifted) {
        Exit::OutOfOrder
    } else if check && any(MigrationState::is_pending) {
        Exit::Pending
    } else {
        Exit::Done
    })
}
