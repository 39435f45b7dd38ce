//! docs/events.md lists every event and span of the sources, with its level and its fields, and no other.

use std::fmt::Write;

use super::logged::{Found, Logged, in_sources};
use super::pages::{cells, quoted, read};

#[test]
fn the_events_are_those_of_the_sources() {
    let (events, spans) = in_sources();
    let page = read("docs/events.md");
    assert!(
        differences(&listed_events(&page), &events).is_empty(),
        "{}",
        differences(&listed_events(&page), &events)
    );
    assert!(
        differences(&listed_spans(&page), &spans).is_empty(),
        "{}",
        differences(&listed_spans(&page), &spans)
    );
}

/// The reasons of the page are the words of the log.
#[test]
fn the_reasons_of_a_close_are_those_of_the_sources() {
    let source = read("crates/db-pool/src/backend/close_reason.rs");
    let (_, words) = source.split_once("fn word(self)").unwrap();
    let (words, _) = words.split_once("\n    }").unwrap();
    let mut expected: Vec<_> = words.split('"').skip(1).step_by(2).collect();
    expected.sort_unstable();
    let page = read("docs/events.md");
    let (_, table) = page.split_once("| `reason` |").unwrap();
    let rows = table
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix('|'));
    let mut listed: Vec<_> = rows.filter_map(|row| quoted(row).next()).collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);
}

fn listed_events(page: &str) -> Found {
    let mut found = Found::new();
    let mut target = "";
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            target = heading;
        }
        let Some(cells) = cells(line) else { continue };
        let [event, levels, fields, _] = &*cells else {
            continue;
        };
        let Some(event) = event
            .strip_prefix('`')
            .and_then(|event| event.strip_suffix('`'))
        else {
            continue;
        };
        let logged = Logged {
            levels: levels.split(", ").map(str::to_owned).collect(),
            fields: quoted(fields).map(str::to_owned).collect(),
        };
        let twice = found.insert((target.to_owned(), event.to_owned()), logged);
        assert!(twice.is_none(), "`{event}` stands twice in docs/events.md");
    }
    found
}

fn listed_spans(page: &str) -> Found {
    let (_, section) = page.split_once("\n## Spans").unwrap();
    let rows = section.lines().filter_map(cells).skip(1);
    rows.map(|cells| {
        let [span, target, fields] = &*cells else {
            panic!("a row of spans has three cells: {cells:?}");
        };
        let logged = Logged {
            levels: [].into(),
            fields: quoted(fields).map(str::to_owned).collect(),
        };
        (
            (
                target.trim_matches('`').to_owned(),
                span.trim_matches('`').to_owned(),
            ),
            logged,
        )
    })
    .collect()
}

/// What docs/events.md has to change.
fn differences(listed: &Found, sources: &Found) -> String {
    let mut text = String::new();
    for (name, logged) in sources {
        match listed.get(name) {
            None => writeln!(text, "missing: {name:?} {logged:?}").unwrap(),
            Some(said) if said != logged => {
                writeln!(
                    text,
                    "differs: {name:?}\n  sources {logged:?}\n  page    {said:?}"
                )
                .unwrap();
            }
            Some(_) => {}
        }
    }
    for name in listed.keys().filter(|name| !sources.contains_key(*name)) {
        writeln!(text, "no such event: {name:?}").unwrap();
    }
    text
}

#[test]
fn a_difference_is_told() {
    let page = "## app_db::pool\n| `x` | warn | `pool`, `error` | |\n| `y` | info | | |";
    let listed = listed_events(page);
    let mut sources = listed.clone();
    assert_eq!(differences(&listed, &sources), "");
    let (name, _) = sources.pop_last().unwrap();
    assert!(differences(&listed, &sources).starts_with("no such event"));
    sources.insert(name.clone(), Logged::default());
    assert!(differences(&listed, &sources).starts_with("differs"));
    sources.insert((name.0, "z".to_owned()), Logged::default());
    assert!(differences(&listed, &sources).contains("missing"));
}
