//! Reads the effect of one statement.

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::effect::touch::{Effect, Link, Reach};
use crate::migrate::effect::{alter_table, create, maintenance, query};
use crate::migrate::words::Words;

/// The effect of `sql`, a single statement.
pub(in crate::migrate) fn effect_of(sql: &str) -> Effect {
    let mut words = Words::of(sql);
    let mut effect = Effect::default();
    let kinds = [
        "alter",
        "create",
        "drop",
        "truncate",
        "lock",
        "insert into",
        "update",
        "delete from",
        "merge into",
        "copy",
        "comment on",
        "vacuum",
        "analyze",
        "analyse",
        "cluster",
        "reindex",
        "refresh materialized view",
        "do",
        "call",
        "execute",
        "explain",
    ];
    match words.take_any(&kinds) {
        Some("alter") => alter(&mut words, &mut effect),
        Some("create") => create::read(&mut words, &mut effect),
        Some("drop") => drop(&mut words, &mut effect),
        Some("truncate") => truncate(&mut words, &mut effect),
        Some("lock") => maintenance::lock(&mut words, &mut effect),
        Some("insert into" | "merge into") => {
            query::insert(&mut words, &mut effect);
            query::read(&words, &mut effect);
        }
        Some("update") => {
            query::update(&mut words, &mut effect);
            query::read(&words, &mut effect);
        }
        Some("delete from") => {
            query::delete(&mut words, &mut effect);
            query::read(&words, &mut effect);
        }
        Some("copy") => copy(&mut words, &mut effect),
        Some("comment on") => maintenance::comment(&mut words, &mut effect),
        Some("vacuum") => maintenance::vacuum(&mut words, &mut effect),
        Some("analyze" | "analyse") => maintenance::analyze(&mut words, &mut effect),
        Some("cluster") => maintenance::cluster(&mut words, &mut effect),
        Some("reindex") => maintenance::reindex(&mut words, &mut effect),
        Some("refresh materialized view") => maintenance::refresh(&mut words, &mut effect),
        Some(_) => effect.opaque = true,
        None if ["select", "with", "values", "table", "("]
            .iter()
            .any(|w| words.is(w)) =>
        {
            query::read(&words, &mut effect);
        }
        None => {}
    }
    effect
}

fn alter(words: &mut Words<'_>, effect: &mut Effect) {
    match words.take_any(&["table", "materialized view", "foreign table"]) {
        Some(_) => return alter_table::read(words, effect),
        None if words.is("view") => {
            words.next();
            words.take("if exists");
            return effect.touch_all(words.name(), LockMode::AccessExclusive);
        }
        None => {}
    }
    if words.take("index") {
        words.take("if exists");
        let name = words.name();
        let weak = words.is("rename") || words.take("set (") || words.take("reset (");
        let mode = if weak || words.is("alter") {
            LockMode::ShareUpdateExclusive
        } else {
            LockMode::AccessExclusive
        };
        effect.touch_all(name, mode);
    } else if words.take("sequence") {
        words.take("if exists");
        let name = words.name();
        let renames = words.is("rename") || words.is("set") || words.is("owner");
        let mode = if renames {
            LockMode::AccessExclusive
        } else {
            LockMode::ShareRowExclusive
        };
        effect.touch_all(name, mode);
    } else if words.take_any(&["trigger", "policy", "rule"]).is_some() {
        words.name();
        words.take("on");
        effect.touch_all(words.name(), LockMode::AccessExclusive);
    } else if words.take("publication") {
        words.name();
        let changes =
            words.take("add table") || words.take("set table") || words.take("drop table");
        if changes {
            effect.touch_all(words.names(), LockMode::ShareUpdateExclusive);
        }
    } else if words.take("domain") || words.take("extension") {
        // The text does not show which tables use the domain, nor what the script does.
        effect.opaque = true;
    }
}

fn drop(words: &mut Words<'_>, effect: &mut Effect) {
    let kinds = [
        "table",
        "materialized view",
        "foreign table",
        "view",
        "sequence",
        "index",
    ];
    let Some(kind) = words.take_any(&kinds) else {
        if words.take_any(&["trigger", "policy", "rule"]).is_some() {
            words.take("if exists");
            words.name();
            words.take("on");
            effect.touch_all(words.name(), LockMode::AccessExclusive);
        } else {
            effect.opaque |= words.has("cascade") || words.is("owned");
        }
        return;
    };
    let mode = if words.take("concurrently") {
        LockMode::ShareUpdateExclusive
    } else {
        LockMode::AccessExclusive
    };
    words.take("if exists");
    let names = words.names();
    let cascade = words.has("cascade");
    for name in names {
        effect.drops.push(name.clone());
        let touch = effect.touch(name, mode);
        match kind {
            "index" => {
                touch.link(Link::TableOfIndex(mode));
            }
            "table" => {
                touch
                    .link(Link::Referenced(LockMode::AccessExclusive))
                    .link(Link::Parent(LockMode::AccessExclusive));
                if cascade {
                    touch
                        .reach(Reach::Tree)
                        .link(Link::Referencing(LockMode::AccessExclusive));
                }
            }
            _ => {}
        }
    }
    effect.opaque |= cascade;
}

fn truncate(words: &mut Words<'_>, effect: &mut Effect) {
    words.take("table");
    let names = words.names();
    let cascade = words.has("cascade");
    for name in names {
        let touch = effect
            .touch(name, LockMode::AccessExclusive)
            .reach(Reach::Tree);
        if cascade {
            touch.link(Link::Referencing(LockMode::AccessExclusive));
        }
    }
}

fn copy(words: &mut Words<'_>, effect: &mut Effect) {
    if words.is("(") {
        return query::read(&words.group(), effect);
    }
    let Some(name) = words.name() else {
        return;
    };
    words.group();
    if words.is("from") {
        let touch = effect.touch(name, LockMode::RowExclusive);
        touch.link(Link::Referenced(LockMode::RowShare));
    } else {
        effect.touch(name, LockMode::AccessShare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(sql: &str) -> Vec<(String, LockMode)> {
        let touches = effect_of(sql).touches.into_iter();
        touches.map(|touch| (touch.name, touch.mode)).collect()
    }

    #[test]
    fn every_relation_of_a_query_is_found_and_nothing_else() {
        use LockMode::{AccessShare, RowExclusive, RowShare};
        for (sql, expected) in [
            (
                "select extract(epoch from now()), a from t as x, s.u join v using (a) where b in (select c from w)",
                vec![
                    ("t", AccessShare),
                    ("s.u", AccessShare),
                    ("v", AccessShare),
                    ("w", AccessShare),
                ],
            ),
            ("select 1 from generate_series(1, 2) for update", vec![]),
            ("select 1 from t for no key update", vec![("t", RowShare)]),
            (
                "insert into t(a) select a from u on conflict (a) do update set a = 1",
                vec![("t", RowExclusive), ("u", AccessShare)],
            ),
            (
                "with d as (delete from t returning a) insert into u select a from d",
                vec![("t", RowExclusive), ("u", RowExclusive), ("d", AccessShare)],
            ),
            (
                "update t set a = u.a from u where t.b = u.b",
                vec![("t", RowExclusive), ("u", AccessShare)],
            ),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(n, m)| (n.to_owned(), m))
                .collect();
            assert_eq!(touched(sql), expected, "{sql}");
        }
    }

    #[test]
    fn the_strongest_action_decides_and_other_tables_are_named() {
        use LockMode::{AccessExclusive, ShareRowExclusive};
        let both = "alter table t add constraint f foreign key (a, b) references u (a, b) not valid, \
                    alter column c set statistics 5";
        assert_eq!(
            touched(both),
            [
                ("t".to_owned(), ShareRowExclusive),
                ("u".to_owned(), ShareRowExclusive),
                ("t".to_owned(), ShareRowExclusive)
            ]
        );
        assert_eq!(touched("drop table if exists \"A\".b, c cascade").len(), 2);
        assert_eq!(touched("truncate only t")[0].1, AccessExclusive);
        assert!(effect_of("do $$ begin end $$").opaque);
        assert_eq!(
            effect_of("create table a(b int references c)").creates,
            ["a"]
        );
    }
}
