//! Finds tables and columns that a migration drops and `schema.rs` still has.

use crate::checks::up_file::UpFile;
use crate::diesel_schema::schema_rs::SchemaRs;
use crate::finding::Finding;
use crate::outline::Outline;
use crate::rules;

pub(super) fn find(up: &UpFile<'_>, schema: &SchemaRs) -> Vec<Finding> {
    let mut findings = Vec::new();
    for statement in up.statements {
        for (table, column) in dropped(statement) {
            let stands = schema.has(&table, column.as_deref());
            let what = column.map_or_else(|| table.clone(), |column| format!("{table}.{column}"));
            if stands {
                let message = format!(
                    "{what} is dropped, but is still in {}.",
                    schema.path().display()
                );
                findings.push(up.at(&rules::IN_SCHEMA, statement, message));
            }
        }
    }
    findings
}

/// The tables and columns that a statement drops.
fn dropped(statement: &Outline<'_>) -> Vec<(String, Option<String>)> {
    let words = statement.words();
    let is = |at: usize, word: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let mut dropped = Vec::new();
    if statement.begins("drop table") {
        let mut at = 2;
        while is(at, "if") || is(at, "exists") {
            at += 1;
        }
        loop {
            dropped.extend(statement.name_at(at).map(|table| (table, None)));
            while words.get(at).is_some_and(|word| *word != ",") {
                at += 1;
            }
            if at >= words.len() {
                return dropped;
            }
            at += 1;
        }
    }
    if !statement.begins("alter table") {
        return dropped;
    }
    let mut at = 2;
    while is(at, "if") || is(at, "exists") || is(at, "only") {
        at += 1;
    }
    let Some(table) = statement.name_at(at) else {
        return dropped;
    };
    while at < words.len() {
        let others = ["constraint", "not", "default", "identity", "expression"];
        if is(at, "drop") && !others.iter().any(|word| is(at + 1, word)) {
            let mut name = at + 1;
            while is(name, "column") || is(name, "if") || is(name, "exists") {
                name += 1;
            }
            dropped.extend(
                statement
                    .name_at(name)
                    .map(|column| (table.clone(), Some(column))),
            );
        }
        at += 1;
    }
    dropped
}
