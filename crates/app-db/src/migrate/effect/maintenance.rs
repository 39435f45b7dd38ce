//! `VACUUM`, `ANALYZE`, `CLUSTER`, `REINDEX`, `REFRESH`, `COMMENT` and `LOCK`.

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::effect::touch::{Effect, Link, Reach, Work};
use crate::migrate::words::Words;

/// Reads what follows `VACUUM`.
pub(super) fn vacuum(words: &mut Words<'_>, effect: &mut Effect) {
    let options = words.group();
    let full = options.has("full") || words.take("full");
    while words.take_any(&["freeze", "verbose", "analyze"]).is_some() {}
    let (mode, work) = if full {
        (LockMode::AccessExclusive, Work::Rewrite)
    } else {
        (LockMode::ShareUpdateExclusive, Work::Scan)
    };
    let names = words.names();
    effect.opaque |= names.is_empty();
    for name in names {
        effect
            .touch(name, mode)
            .reach(Reach::PartitionsAndHeirs)
            .work(work.clone());
    }
}

/// Reads what follows `ANALYZE`.
pub(super) fn analyze(words: &mut Words<'_>, effect: &mut Effect) {
    words.group();
    words.take("verbose");
    let names = words.names();
    effect.opaque |= names.is_empty();
    for name in names {
        let touch = effect.touch(name, LockMode::ShareUpdateExclusive);
        touch.reach(Reach::PartitionsAndHeirs);
        touch.link(Link::Descendants(LockMode::AccessShare));
    }
}

/// Reads what follows `CLUSTER`.
pub(super) fn cluster(words: &mut Words<'_>, effect: &mut Effect) {
    words.group();
    words.take("verbose");
    match words.name() {
        Some(name) => {
            let touch = effect.touch(name, LockMode::AccessExclusive);
            touch.work(Work::Rewrite);
        }
        None => effect.opaque = true,
    }
}

/// Reads what follows `REINDEX`.
pub(super) fn reindex(words: &mut Words<'_>, effect: &mut Effect) {
    words.group();
    words.take("verbose");
    let of = words.take_any(&["index", "table"]);
    let mode = if words.take("concurrently") {
        LockMode::ShareUpdateExclusive
    } else {
        LockMode::Share
    };
    match (of, words.name()) {
        (Some("index"), Some(name)) => {
            // Without CONCURRENTLY, not even a read can use the index.
            let of_index = if mode == LockMode::Share {
                LockMode::AccessExclusive
            } else {
                mode
            };
            let touch = effect.touch(name, of_index).work(Work::Scan);
            touch.link(Link::TableOfIndex(mode));
        }
        (Some(_), Some(name)) => {
            let touch = effect.touch(name, mode).reach(Reach::Partitions);
            touch.work(Work::Scan);
        }
        _ => effect.opaque = true,
    }
}

/// Reads what follows `REFRESH MATERIALIZED VIEW`.
pub(super) fn refresh(words: &mut Words<'_>, effect: &mut Effect) {
    let concurrently = words.take("concurrently");
    let Some(name) = words.name() else {
        return;
    };
    let (mode, work) = if concurrently {
        (LockMode::Exclusive, Work::Scan)
    } else {
        (LockMode::AccessExclusive, Work::Rewrite)
    };
    effect.touch(name, mode).work(work);
}

/// Reads what follows `COMMENT ON`.
pub(super) fn comment(words: &mut Words<'_>, effect: &mut Effect) {
    let relations = [
        "table",
        "view",
        "materialized view",
        "index",
        "sequence",
        "foreign table",
    ];
    if words.take_any(&relations).is_some() {
        effect.touch_all(words.name(), LockMode::ShareUpdateExclusive);
    } else if words.take("column") {
        let column = words.name().unwrap_or_default();
        if let Some((table, _)) = column.rsplit_once('.') {
            effect.touch(table, LockMode::ShareUpdateExclusive);
        }
    } else if words
        .take_any(&["constraint", "trigger", "policy", "rule"])
        .is_some()
    {
        words.name();
        if words.take("on") && !words.take("domain") {
            effect.touch_all(words.name(), LockMode::AccessShare);
        }
    }
}

/// Reads what follows `LOCK`.
pub(super) fn lock(words: &mut Words<'_>, effect: &mut Effect) {
    words.take("table");
    let only = words.is("only");
    let names = words.names();
    let mode = if words.take("in") { mode(words) } else { None };
    let reach = if only { Reach::Alone } else { Reach::Tree };
    for name in names {
        effect
            .touch(name, mode.unwrap_or(LockMode::AccessExclusive))
            .reach(reach);
    }
}

fn mode(words: &mut Words<'_>) -> Option<LockMode> {
    let modes = [
        ("access share", LockMode::AccessShare),
        ("access exclusive", LockMode::AccessExclusive),
        ("row share", LockMode::RowShare),
        ("row exclusive", LockMode::RowExclusive),
        ("share update exclusive", LockMode::ShareUpdateExclusive),
        ("share row exclusive", LockMode::ShareRowExclusive),
        ("share", LockMode::Share),
        ("exclusive", LockMode::Exclusive),
    ];
    let found = modes.into_iter().find(|(text, _)| words.take(text));
    found.map(|(_, mode)| mode)
}
