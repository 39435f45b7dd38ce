//! Statements that lock or empty a whole table that others use, and that squawk lets through.

use crate::checks::up_file::UpFile;
use crate::finding::Finding;
use crate::outline::{Outline, created_tables};
use crate::rules;

pub(super) fn find(up: &UpFile<'_>) -> Vec<Finding> {
    let created = created_tables(up.statements);
    let is_old = |name: Option<String>| name.is_some_and(|name| !created.contains(&name));
    let mut findings = Vec::new();
    for statement in up.statements {
        let rule = if is_old(altered_table(statement)) {
            match added_type(statement) {
                Some(Added::Serial) => Some(&rules::SERIAL),
                Some(Added::Json) => Some(&rules::JSON),
                None => None,
            }
        } else if statement.begins("refresh materialized view") {
            let options = statement.has("concurrently") || statement.has("with no data");
            (!options).then_some(&rules::REFRESH)
        } else if statement.begins("truncate") {
            let at = 1 + usize::from(statement.begins("truncate table"));
            let only = statement.words().get(at);
            let at = at + usize::from(only.is_some_and(|word| word.eq_ignore_ascii_case("only")));
            is_old(statement.name_at(at)).then_some(&rules::TRUNCATE)
        } else {
            None
        };
        findings.extend(rule.map(|rule| up.at(rule, statement, rule.summary)));
    }
    findings
}

/// The table of an `ALTER TABLE`.
fn altered_table(statement: &Outline<'_>) -> Option<String> {
    if !statement.begins("alter table") {
        return None;
    }
    let words = statement.words();
    let is_filler = |word: &&&str| {
        ["if", "exists", "only"]
            .iter()
            .any(|filler| word.eq_ignore_ascii_case(filler))
    };
    let fillers = words.iter().skip(2).take_while(is_filler).count();
    statement.name_at(2 + fillers)
}

enum Added {
    Serial,
    Json,
}

/// The kind of a column that is added, as far as it matters: `ADD [COLUMN] [IF NOT EXISTS] name type`.
fn added_type(statement: &Outline<'_>) -> Option<Added> {
    let words = statement.words();
    let is = |at: usize, expected: &str| {
        let word = words.get(at);
        word.is_some_and(|word| word.eq_ignore_ascii_case(expected))
    };
    let adds = (0..words.len()).filter(|at| is(*at, "add"));
    for add in adds {
        let mut at = add + 1 + usize::from(is(add + 1, "column"));
        if is(at, "if") && is(at + 1, "not") && is(at + 2, "exists") {
            at += 3;
        }
        let kind = at + 1;
        let serials = [
            "smallserial",
            "serial",
            "bigserial",
            "serial2",
            "serial4",
            "serial8",
        ];
        if serials.iter().any(|serial| is(kind, serial)) {
            return Some(Added::Serial);
        }
        if is(kind, "json") {
            return Some(Added::Json);
        }
    }
    None
}
