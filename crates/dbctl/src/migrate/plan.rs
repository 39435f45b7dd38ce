//! `dbctl migrate plan`, and `run` with `--dry-run` or `--plan-file`.

use std::path::Path;
use std::time::Duration;

use app_db::{
    ApprovedPlan, Migrator, PlannedMigration, PlannedRelation, PlannedStatement, Rehearsed,
};
use serde::Serialize;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::output;

/// Prints what a run would do.
pub(super) async fn show(migrator: &Migrator, json: bool) -> Result<Exit, CommandFailure> {
    print(
        migrator,
        &migrator.plan().await?,
        json,
        &COLUMNS[..COLUMNS.len() - 1],
    )
}

/// Runs the migrations in a transaction, rolls it back, and prints what the run did.
pub(super) async fn rehearse(migrator: &Migrator, json: bool) -> Result<Exit, CommandFailure> {
    let migrations = migrator.rehearse().await?;
    print(migrator, &migrations, json, &COLUMNS)?;
    let untried = migrations.iter().skip_while(|m| is_rehearsed(m));
    if let Some(first) = untried.clone().next() {
        output::progress(format_args!(
            "rolled back; {} not tried, from {}_{} on, which runs outside a transaction",
            untried.count(),
            first.version,
            first.name
        ));
    } else if !migrations.is_empty() {
        output::progress("rolled back");
    }
    Ok(Exit::Done)
}

/// Reads what `plan --json` has printed.
pub(super) fn read(file: &Path) -> Result<ApprovedPlan, CommandFailure> {
    let failed = |problem: String| {
        let problem = format!("{}: {problem}", file.display());
        CommandFailure::new(Exit::Configuration, problem)
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(format!("this is no plan: {error}")))
}

fn is_rehearsed(migration: &PlannedMigration) -> bool {
    let mut statements = migration.statements.iter();
    migration.transaction && statements.all(|statement| statement.rehearsed.is_some())
}

fn print(
    migrator: &Migrator,
    migrations: &[PlannedMigration],
    json: bool,
    header: &[&str],
) -> Result<Exit, CommandFailure> {
    if json {
        output::json(&Plan {
            schema: 1,
            database: migrator.database(),
            migrations,
        })?;
        return Ok(Exit::Done);
    }
    if migrations.is_empty() {
        output::progress("nothing to do");
        return Ok(Exit::Done);
    }
    let mut table = output::table(header);
    for migration in migrations {
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
    let rows = match &statement.rehearsed {
        Some(rehearsed) => rehearsed_rows(statement, rehearsed),
        None => planned_rows(statement),
    };
    for row in rows {
        table.add_row(begin.clone().into_iter().chain(row));
    }
}

fn planned_rows(statement: &PlannedStatement) -> Vec<Vec<String>> {
    if statement.relations.is_empty() {
        let work = if statement.opaque { "unknown" } else { "" };
        return vec![["", "", "", "", work].map(str::to_owned).to_vec()];
    }
    let row = |relation: &PlannedRelation| {
        let mut row = vec![relation.lock_mode.to_string(), relation.relation.clone()];
        row.extend(facts(relation, statement.opaque));
        row
    };
    statement.relations.iter().map(row).collect()
}

/// The server has shown the locks. The rest is from the plan.
fn rehearsed_rows(statement: &PlannedStatement, rehearsed: &Rehearsed) -> Vec<Vec<String>> {
    let took = milliseconds(rehearsed.elapsed);
    if rehearsed.locks.is_empty() {
        let empty = ["", "", "", "", ""].map(str::to_owned);
        return vec![empty.into_iter().chain([took]).collect()];
    }
    let rows = rehearsed.locks.iter().map(|lock| {
        let mut planned = statement.relations.iter();
        let planned = planned.find(|relation| relation.relation == lock.relation);
        let mut row = vec![lock.lock_mode.to_string(), lock.relation.clone()];
        row.extend(planned.map_or_else(Default::default, |planned| facts(planned, false)));
        row.push(took.clone());
        row
    });
    rows.collect()
}

/// Rows, size and work of a relation.
fn facts(relation: &PlannedRelation, opaque: bool) -> [String; 3] {
    let rows = relation.rows.map(|rows| rows.to_string());
    let work = match (relation.exists, relation.rewrite, relation.scan) {
        (false, _, _) => "not there yet",
        (true, true, _) => "rewrite",
        (true, false, true) => "scan",
        (true, false, false) if opaque => "unknown",
        (true, false, false) => "",
    };
    [
        rows.unwrap_or_default(),
        relation.size_bytes.map(size).unwrap_or_default(),
        work.to_owned(),
    ]
}

fn size(bytes: i64) -> String {
    let units = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    let unit = units.into_iter().find(|(unit, _)| bytes >= *unit);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(unit, name)| format!("{} {name}", bytes / unit),
    )
}

fn milliseconds(elapsed: Duration) -> String {
    format!("{} ms", elapsed.as_millis())
}

/// The columns of the table; only a rehearsal has the last one.
const COLUMNS: [&str; 9] = [
    "migration",
    "line",
    "transaction",
    "lock",
    "relation",
    "rows",
    "size",
    "work",
    "took",
];
