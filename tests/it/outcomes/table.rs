//! `docs/errors.md` names a test for each row, which exists.

use std::path::Path;

/// The repository's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The test's name and the file that it is in, of a path such as `outcomes::silence::a_test`.
fn is_there(path: &str) -> bool {
    let (modules, name) = path.rsplit_once("::").unwrap();
    let modules = modules.replace("::", "/");
    let file = root().join("tests/it").join(format!("{modules}.rs"));
    std::fs::read_to_string(file).is_ok_and(|source| source.contains(&format!("fn {name}()")))
}

/// Issue 12, point 1: each row has a kind that there is, and a test that shows it.
#[test]
fn each_way_a_call_can_end_has_a_test() {
    const KINDS: [&str; 9] = [
        "Configuration",
        "Query",
        "Busy",
        "Down",
        "Conflict",
        "OutcomeUnknown",
        "ShuttingDown",
        "Committed",
        "none",
    ];
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with('|') && line.contains("::"))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
        });
    let mut count = 0;
    for row in rows {
        let [_lost, _sent, _said, kind, _sqlstate, again, tests] = row.as_slice() else {
            panic!("seven columns are expected: {row:?}");
        };
        let kind = kind.trim_matches('`');
        assert!(KINDS.contains(&kind), "{row:?}");
        assert!(kind == "none" || !again.is_empty(), "{row:?}");
        for test in tests.split(", ") {
            assert!(is_there(test.trim_matches('`')), "there is no test {test}");
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
    assert!(!is_there("outcomes::silence::a_test_that_nobody_wrote"));
}
