//! `CREATE`.

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::effect::query;
use crate::migrate::effect::touch::{Effect, Link, Reach, Work};
use crate::migrate::words::Words;

/// Reads what follows `CREATE`.
pub(super) fn read(words: &mut Words<'_>, effect: &mut Effect) {
    let replaces = words.take("or replace");
    let kinds = [
        "global",
        "local",
        "temporary",
        "temp",
        "unlogged",
        "recursive",
        "constraint",
    ];
    let mut temporary = false;
    while let Some(kind) = words.take_any(&kinds) {
        temporary |= kind.starts_with("temp");
    }
    read_kind(words, replaces, effect);
    if temporary {
        // Temporary relations are gone before the next migration.
        effect.creates.clear();
    }
}

fn read_kind(words: &mut Words<'_>, replaces: bool, effect: &mut Effect) {
    let unique = words.take("unique");
    if words.take("index") {
        return index(words, effect);
    }
    if unique {
        return;
    }
    if words.take("table") || words.take("foreign table") {
        return table(words, effect);
    }
    let materialized = words.take("materialized view");
    if materialized || words.take("view") {
        words.take("if not exists");
        if let Some(name) = words.name() {
            if replaces {
                effect.touch(name.clone(), LockMode::AccessExclusive);
            }
            effect.creates.push(name);
        }
        let before = effect.touches.len();
        query::read(words, effect);
        if !materialized {
            // The server parses the query and does not run it.
            for touch in &mut effect.touches[before..] {
                touch.reach(Reach::Name);
            }
        }
    } else if words.take("sequence") {
        words.take("if not exists");
        effect.creates.extend(words.name());
    } else if words.take("trigger") {
        words.name();
        trigger(words, effect);
    } else if words.take("rule") {
        words.skip_past("to");
        effect.touch_all(words.name(), LockMode::AccessExclusive);
    } else if words.take("policy") {
        words.skip_past("on");
        effect.touch_all(words.name(), LockMode::AccessExclusive);
    } else if words.take("statistics") {
        words.skip_past("from");
        effect.touch_all(words.name(), LockMode::ShareUpdateExclusive);
    } else if words.take("publication") && words.skip_past("for") && words.take("table") {
        for name in words.names() {
            effect
                .touch(name, LockMode::ShareUpdateExclusive)
                .reach(Reach::Tree);
        }
    }
}

fn table(words: &mut Words<'_>, effect: &mut Effect) {
    words.take("if not exists");
    effect.creates.extend(words.name());
    if words.take("partition of") {
        if let Some(parent) = words.name() {
            let parent = effect.touch(parent, LockMode::AccessExclusive);
            parent.link(Link::Referenced(LockMode::ShareRowExclusive));
        }
        return;
    }
    for mut part in words.group().split() {
        if part.take("like") {
            effect.touch_all(part.name(), LockMode::AccessShare);
        }
        while part.skip_past("references") {
            if let Some(name) = part.name() {
                effect
                    .touch(name, LockMode::ShareRowExclusive)
                    .reach(Reach::Partitions);
            }
        }
    }
    if words.take("inherits") {
        let parents = words.group().names();
        effect.touch_all(parents, LockMode::ShareUpdateExclusive);
    }
    if words.skip_past("as") {
        query::read(words, effect);
    }
}

fn index(words: &mut Words<'_>, effect: &mut Effect) {
    let mode = if words.take("concurrently") {
        LockMode::ShareUpdateExclusive
    } else {
        LockMode::Share
    };
    words.take("if not exists");
    if !words.is("on") {
        effect.creates.extend(words.name());
    }
    words.take("on");
    let only = words.take("only");
    if let Some(table) = words.name() {
        let reach = if only {
            Reach::Alone
        } else {
            Reach::Partitions
        };
        effect.touch(table, mode).reach(reach).work(Work::Scan);
    }
}

/// Reads what follows the name of a trigger. The columns of `UPDATE OF` are not tables.
fn trigger(words: &mut Words<'_>, effect: &mut Effect) {
    if !words.skip_past("on") {
        return;
    }
    if let Some(table) = words.name() {
        effect
            .touch(table, LockMode::ShareRowExclusive)
            .reach(Reach::Partitions);
    }
    if words.take("from") {
        effect.touch_all(words.name(), LockMode::AccessShare);
    }
}
