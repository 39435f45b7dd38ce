//! `dbctl migrate plan`, and `run --dry-run`.

use app_db::{Migrator, PlannedMigration, PlannedRelation, PlannedStatement};
use serde::Serialize;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

/// Prints what a run would do.
pub(super) async fn show(migrator: &Migrator, json: bool) -> Result<Exit, CommandFailure> {
    let migrations = migrator.plan().await?;
    if json {
        output::json(&Plan {
            schema: 1,
            database: migrator.database(),
            migrations: &migrations,
        })?;
        return Ok(Exit::Done);
    }
    if migrations.is_empty() {
        output::progress("nothing to do");
        return Ok(Exit::Done);
    }
    let header = [
        "migration",
        "line",
        "transaction",
        "lock",
        "relation",
        "rows",
        "size",
        "work",
    ];
    let mut table = output::table(&header);
    for migration in &migrations {
        for statement in &migration.statements {
            add(&mut table, migration, statement);
        }
    }
    output::data(table.trim_fmt())?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Plan<'a> {
    schema: u8,
    database: &'a str,
    migrations: &'a [PlannedMigration],
}

fn add(table: &mut comfy_table::Table, migration: &PlannedMigration, statement: &PlannedStatement) {
    let name = format!("{}_{}", migration.version, migration.name);
    let transaction = if statement.transaction { "yes" } else { "no" };
    let begin = [name, statement.line.to_string(), transaction.to_owned()];
    if statement.relations.is_empty() {
        let work = if statement.opaque { "unknown" } else { "" };
        let rest = ["", "", "", "", work].map(str::to_owned);
        table.add_row(begin.clone().into_iter().chain(rest));
    }
    for relation in &statement.relations {
        let rest = [
            relation.lock_mode.to_string(),
            relation.relation.clone(),
            relation
                .rows
                .map(|rows| rows.to_string())
                .unwrap_or_default(),
            relation.size_bytes.map(size).unwrap_or_default(),
            work(relation, statement).to_owned(),
        ];
        table.add_row(begin.clone().into_iter().chain(rest));
    }
}

fn work(relation: &PlannedRelation, statement: &PlannedStatement) -> &'static str {
    match (relation.exists, relation.rewrite, relation.scan) {
        (false, _, _) => "not there yet",
        (true, true, _) => "rewrite",
        (true, false, true) => "scan",
        (true, false, false) if statement.opaque => "unknown",
        (true, false, false) => "",
    }
}

fn size(bytes: i64) -> String {
    let units = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(unit, name)| format!("{} {name}", bytes / unit),
    )
}
