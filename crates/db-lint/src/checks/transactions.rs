//! Rules about the transaction of a migration, and about migrations without one.

use crate::checks::up_file::UpFile;
use crate::finding::Finding;
use crate::outline::{Outline, created_tables};
use crate::rules;

pub(super) fn find(up: &UpFile<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if up.migration.run_in_transaction {
        findings.extend(inside(up));
        findings.extend(enum_values(up));
        findings.extend(backfills(up));
    } else {
        findings.extend(outside(up));
    }
    let concurrent = up.statements.iter().filter(|statement| {
        statement.begins("create") && statement.has("concurrently if not exists")
    });
    findings.extend(
        concurrent.map(|statement| up.at(&rules::EXISTS, statement, rules::EXISTS.summary)),
    );
    findings
}

fn inside(up: &UpFile<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for statement in up.statements {
        if needs_none(statement) {
            let message =
                "This statement cannot run in a transaction, but the migration runs in one.";
            findings.push(up.at(&rules::FLAG, statement, message));
        } else if controls(statement) {
            findings.push(up.at(&rules::CONTROL, statement, rules::CONTROL.summary));
        }
    }
    findings
}

fn outside(up: &UpFile<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let any = |check: fn(&Outline<'_>) -> bool| up.statements.iter().any(check);
    match up.statements.first() {
        // A file with transactions of its own has the flag for them.
        Some(first) if !any(needs_none) && !any(controls) && !any(may_commit) => {
            let message = "Nothing in the file needs `run_in_transaction = false`, and a failure would \
                           leave it half done.";
            let mut finding = up.at(&rules::FLAG, first, message);
            finding.severity = rules::Severity::Warning;
            findings.push(finding);
        }
        _ => {}
    }
    let own = up
        .statements
        .iter()
        .filter(|statement| !statement.begins("set"));
    if own.clone().count() > 1 && !any(controls) {
        let second = own.clone().nth(1);
        findings
            .extend(second.map(|second| up.at(&rules::SEVERAL, second, rules::SEVERAL.summary)));
    }
    findings
}

/// Whether the server refuses it in a transaction.
fn needs_none(statement: &Outline<'_>) -> bool {
    let concurrently = statement.has("concurrently")
        && !statement.begins("refresh")
        && ["create", "drop", "reindex", "alter table"]
            .iter()
            .any(|verb| statement.begins(verb));
    let verbs = [
        "vacuum",
        "create database",
        "drop database",
        "alter system",
        "create tablespace",
        "drop tablespace",
        "create subscription",
        "drop subscription",
        "reindex database",
        "reindex schema",
        "reindex system",
        "commit prepared",
        "rollback prepared",
    ];
    concurrently
        || verbs.iter().any(|verb| statement.begins(verb))
        || (statement.begins("cluster") && statement.words().len() == 1)
}

/// Its body may commit.
fn may_commit(statement: &Outline<'_>) -> bool {
    statement.begins("call") || statement.begins("do")
}

fn controls(statement: &Outline<'_>) -> bool {
    let verbs = [
        "begin",
        "commit",
        "end",
        "abort",
        "start transaction",
        "prepare transaction",
    ];
    let rolls_back = statement.begins("rollback") && !statement.has("to");
    rolls_back || verbs.iter().any(|verb| statement.begins(verb))
}

/// Values that are added to an enum, and stand in a later statement of the same transaction.
fn enum_values(up: &UpFile<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, statement) in up.statements.iter().enumerate() {
        let Some(at) = statement
            .position("add value")
            .filter(|_| statement.begins("alter type"))
        else {
            continue;
        };
        let value = statement.words()[at..]
            .iter()
            .find(|word| word.starts_with('\''));
        let users = up.statements[index + 1..].iter().filter(|later| {
            value.is_some_and(|value| later.words().contains(value)) && !later.begins("comment")
        });
        findings
            .extend(users.map(|user| up.at(&rules::ENUM_VALUE, user, rules::ENUM_VALUE.summary)));
    }
    findings
}

/// Changes of rows in the same transaction as a change of a table that others use.
fn backfills(up: &UpFile<'_>) -> Vec<Finding> {
    let created = created_tables(up.statements);
    let is_new = |name: Option<String>| name.is_some_and(|name| created.contains(&name));
    let changes_table = up.statements.iter().any(|statement| {
        let mut at = 2;
        while ["if", "exists", "only"].iter().any(|word| {
            statement
                .words()
                .get(at)
                .is_some_and(|w| w.eq_ignore_ascii_case(word))
        }) {
            at += 1;
        }
        let table = statement.begins("alter table") && !is_new(statement.name_at(at));
        let index = statement.position("on").filter(|_| {
            statement.begins("create index") || statement.begins("create unique index")
        });
        table || index.is_some_and(|on| !is_new(statement.name_at(on + 1)))
    });
    if !changes_table {
        return Vec::new();
    }
    let filling = up.statements.iter().filter(|statement| {
        let at = if statement.begins("update") {
            1
        } else if statement.begins("delete from")
            || (statement.begins("insert into") && statement.has("select"))
        {
            2
        } else {
            return false;
        };
        let only = statement
            .words()
            .get(at)
            .is_some_and(|w| w.eq_ignore_ascii_case("only"));
        !is_new(statement.name_at(at + usize::from(only)))
    });
    filling
        .map(|statement| up.at(&rules::BACKFILL, statement, rules::BACKFILL.summary))
        .collect()
}
