//! `dbctl migrate status`.

use std::time::Duration;

use app_db::{LockInfo, MigrationState, Migrator};

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

pub(super) async fn run(
    migrator: &Migrator,
    json: bool,
    check: bool,
    through_proxy: bool,
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
            "duration",
            "destructive",
        ];
        let mut table = output::table(&header);
        for migration in &status {
            table.add_row([
                migration.version.as_str(),
                &migration.name,
                migration.state.as_str(),
                migration.applied_at.as_deref().unwrap_or_default(),
                migration.checksum.map_or("", |checksum| checksum.as_str()),
                migration.phase.map_or("", |phase| phase.as_str()),
                yes_or_no(migration.run_in_transaction),
                &migration.duration.map(shown).unwrap_or_default(),
                yes_or_no(migration.destructive),
            ]);
        }
        output::data(table.trim_fmt())?;
        tell_of_the_session(&migrator.lock_info().await?, through_proxy);
    }
    let any = |state: fn(MigrationState) -> bool| status.iter().any(|m| state(m.state));
    Ok(if any(|state| state == MigrationState::Drifted) {
        Exit::OutOfOrder
    } else if check && any(MigrationState::is_pending) {
        Exit::Pending
    } else {
        Exit::Done
    })
}

/// Says as which role and where a run would work, and who holds the migrators' lock. The migrator has refused a
/// pooler before this.
fn tell_of_the_session(lock: &LockInfo, through_proxy: bool) {
    let LockInfo {
        database,
        schema,
        role,
        classid,
        objid,
        holder,
        ..
    } = lock;
    let between = if through_proxy { "a proxy" } else { "nothing" };
    output::progress(format_args!(
        "role {role}, database {database}, schema {schema}, {between} in between"
    ));
    let holder = holder
        .as_ref()
        .map_or_else(|| "free".to_owned(), |holder| format!("held by {holder}"));
    output::progress(format_args!(
        "the migrators' lock (classid {classid}, objid {objid} in pg_locks) is {holder}"
    ));
}

fn yes_or_no(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    }
}

/// To the millisecond below a second, and to the second above a minute.
fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let rounded = match seconds {
        0 => return format!("{} ms", duration.as_millis()),
        1..60 => return format!("{:.1} s", duration.as_secs_f64()),
        _ => Duration::from_secs(seconds),
    };
    humantime::format_duration(rounded).to_string()
}
