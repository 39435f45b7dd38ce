//! Which tables a query reads, and what else a query may do.

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::effect::touch::{Effect, Link, Reach};
use crate::migrate::words::Words;

/// Adds what the rest of a statement reads and writes. It also adds names that are not relations, such as
/// functions and the names that `WITH` defines. The plan drops them, because the catalogue does not know them.
pub(super) fn read(words: &Words<'_>, effect: &mut Effect) {
    let mode = if locks_rows(words) {
        LockMode::RowShare
    } else {
        LockMode::AccessShare
    };
    let mut words = words.clone();
    while !words.is_empty() {
        if words.is("(") {
            // Each subquery decides for itself whether it locks rows.
            read(&words.group(), effect);
        } else if words.take("insert into") || words.take("merge into") {
            insert(&mut words, effect);
        } else if words.take("delete from") {
            delete(&mut words, effect);
        } else if words.take_any(&NO_UPDATES).is_some() {
            // Skips clauses that contain UPDATE and are not the statement.
        } else if words.take("update") {
            update(&mut words, effect);
        } else if words.take_any(&["from", "join", "using"]).is_some() {
            sources(&mut words, mode, effect);
        } else if words.take("table") {
            effect.touch_all(words.name(), mode);
        } else {
            words.next();
        }
    }
}

/// Reads what follows `INSERT INTO`. A foreign key looks up each row in the other table.
pub(super) fn insert(words: &mut Words<'_>, effect: &mut Effect) {
    if let Some(name) = words.name() {
        let touch = effect.touch(name, LockMode::RowExclusive);
        touch
            .reach(Reach::Partitions)
            .link(Link::Referenced(LockMode::RowShare));
    }
}

pub(super) fn update(words: &mut Words<'_>, effect: &mut Effect) {
    let only = words.take("only");
    if let Some(name) = words.name() {
        let reach = if only { Reach::Alone } else { Reach::Tree };
        effect.touch(name, LockMode::RowExclusive).reach(reach);
    }
}

pub(super) fn delete(words: &mut Words<'_>, effect: &mut Effect) {
    let only = words.take("only");
    if let Some(name) = words.name() {
        let reach = if only { Reach::Alone } else { Reach::Tree };
        let touch = effect.touch(name, LockMode::RowExclusive).reach(reach);
        touch.link(Link::OnDelete);
    }
}

/// Reads the list after FROM, JOIN or USING: names, functions and subqueries, with or without an alias.
fn sources(words: &mut Words<'_>, mode: LockMode, effect: &mut Effect) {
    loop {
        words.take("lateral");
        let only = words.take("only");
        let name = words.name();
        if words.is("(") {
            // The arguments of a function, or a subquery.
            read(&words.group(), effect);
        } else if let Some(name) = name {
            let reach = if only { Reach::Alone } else { Reach::Tree };
            effect.touch(name, mode).reach(reach);
        } else {
            return;
        }
        words.take("*");
        words.take("as");
        if !is_clause(words) {
            words.name();
        }
        words.group();
        if !words.take(",") {
            return;
        }
    }
}

/// Whether the query has FOR UPDATE or the like outside its subqueries.
fn locks_rows(words: &Words<'_>) -> bool {
    let mut words = words.clone();
    while words.skip_past("for") {
        if words
            .take_any(&["update", "share", "no key update", "key share"])
            .is_some()
        {
            return true;
        }
    }
    false
}

fn is_clause(words: &Words<'_>) -> bool {
    CLAUSES.iter().any(|clause| words.is(clause))
}

/// UPDATE in row locks, ON CONFLICT, foreign keys and MERGE.
const NO_UPDATES: [&str; 5] = [
    "for no key update",
    "for update",
    "do update",
    "on update",
    "then update",
];

/// Words that may follow a name in FROM and are not an alias.
const CLAUSES: [&str; 23] = [
    "where",
    "join",
    "left",
    "right",
    "full",
    "inner",
    "cross",
    "natural",
    "on",
    "using",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "fetch",
    "union",
    "intersect",
    "except",
    "for",
    "window",
    "when",
    "tablesample",
];
