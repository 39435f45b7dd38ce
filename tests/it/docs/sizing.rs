//! The numbers of docs/pooling.md are computed right, and the code has the same ones.

use app_db::{Environment, PoolProfile};

use super::pages::{cells, read};

/// req 0.01, req 0.04, req 3.27, req 4.01, req 4.02, req 4.03: the worked examples follow from the formulas.
#[test]
fn the_examples_follow_from_the_formulas() {
    let page = read("docs/pooling.md");
    let computed: Vec<_> = page.lines().flat_map(equations).collect();
    assert!(computed.len() >= 2, "{computed:?}");
    for (left, right) in computed {
        assert!((left - right).abs() < 1e-9, "{left} is not {right}");
    }
    // Users at once, operations of each at the same time, and the safety factor.
    let connections: f64 = 150.0 * 0.3 * 1.5;
    assert_eq!(connections.ceil(), 68.0);
    assert!(page.contains("150 × 0.3 × 1.5 = 67.5, so 68 connections"));

    let (cores, disks, max_connections) = (8, 1, 200);
    let example = format!("{cores} cores, one disk, `max_connections = {max_connections}`");
    let (_, table) = page.split_once(&example).unwrap();
    let rows: Vec<_> = table
        .lines()
        .skip(1)
        .map_while(|line| match line.starts_with('|') {
            true => Some(cells(line)),
            false => None,
        })
        .flatten()
        .map(|cells| cells[2].to_owned())
        .collect();
    let percent = |share: u32| max_connections * share / 100;
    assert_eq!(
        rows,
        [
            format!("{}", cores * 2 + disks),
            format!("{} to {}", cores * 2, cores * 4),
            format!("{} to {}", percent(70), percent(80)),
        ]
    );

    // Four instances that become five, and a reserve.
    let each = (max_connections - percent(15)) / 5;
    assert!(page.contains(&format!("a reserve of 15 % ({})", percent(15))));
    assert!(page.contains(&format!("= {each} for each instance")));
    assert!(20 + 10 + 3 <= each);
}

/// req 3.28, req 4.04, req 4.05, req 4.09, req 4.36: the rules are told with the values that are built in.
#[test]
fn the_values_are_the_built_in_ones() {
    let page = read("docs/pooling.md");
    let built_in = |key: &str| {
        let rows = page.lines().filter_map(cells);
        let mut rows = rows.filter(|cells| cells[0] == format!("`{key}`"));
        rows.next().unwrap_or_else(|| panic!("no row of {key}"))[2].to_owned()
    };
    let (dev, prod) = (
        PoolProfile::of(&Environment::Dev),
        PoolProfile::of(&Environment::Prod),
    );
    let seconds = |time: Option<std::time::Duration>| time.unwrap().as_secs();
    assert_eq!(
        built_in("max"),
        format!("dev {}, prod {}", dev.max, prod.max)
    );
    assert_eq!(
        built_in("min_idle"),
        format!("dev {}, prod {}", dev.min_idle, prod.min_idle)
    );
    assert_eq!(
        built_in("max_waiting"),
        format!("prod {}", prod.max_waiting.unwrap())
    );
    let waits = [
        dev.checkout_timeout.as_secs(),
        prod.checkout_timeout.as_secs(),
    ];
    assert_eq!(
        built_in("checkout_timeout"),
        format!("dev {} s, prod {} s", waits[0], waits[1])
    );
    assert_eq!(
        built_in("max_lifetime"),
        format!("prod {} min", seconds(prod.max_lifetime) / 60)
    );
    assert_eq!(
        built_in("idle_timeout"),
        format!("prod {} s", seconds(prod.idle_timeout))
    );
    for advice in [
        "Start small",
        "Short queries need small pools",
        "A large pool as a cure",
        "idle_session_timeout",
    ] {
        assert!(page.contains(advice), "{advice}");
    }
}

/// What stands on the left of each `=`, computed from the left, and what stands on its right.
fn equations(line: &str) -> Vec<(f64, f64)> {
    let words: Vec<_> = line.split_whitespace().collect();
    let number = |word: &str| {
        word.trim_matches(|char: char| !char.is_ascii_digit())
            .parse::<f64>()
            .ok()
    };
    let mut found = Vec::new();
    for (at, _) in words.iter().enumerate().filter(|(_, word)| **word == "=") {
        let mut begin = at;
        while begin >= 2 && ["×", "÷"].contains(&words[begin - 2]) {
            begin -= 2;
        }
        let Some(begin) = begin.checked_sub(1).filter(|begin| at - begin > 2) else {
            continue;
        };
        let Some(mut left) = number(words[begin]) else {
            continue;
        };
        for pair in words[begin + 1..at].chunks(2) {
            let value = number(pair[1]).unwrap();
            left = if pair[0] == "×" {
                left * value
            } else {
                left / value
            };
        }
        found.push((left, number(words[at + 1]).unwrap()));
    }
    found
}

#[test]
fn equations_are_computed() {
    assert_eq!(
        equations("so 2 × 3 × 1.5 = 9, and 7 ÷ 2 = 3.5."),
        [(9.0, 9.0), (3.5, 3.5)]
    );
    assert_eq!(equations("`max = 200` and x = 3"), []);
}
