//! Finds values that are valid by themselves but contradict each other or the environment.

use std::collections::BTreeMap;
use std::time::Duration;

use config::{Value, ValueKind};

use crate::duration;
use crate::environment::Environment;
use crate::error::Problem;
use crate::layers::{Layers, is_built_in};
use crate::origin::Origin;

/// Lists each pair of values that contradict each other, and each value that the environment forbids.
pub(crate) fn contradictions(layers: &Layers, environment: &Environment) -> Vec<Problem> {
    let mut problems = Vec::new();
    for group in profiles(layers) {
        let table = layers.table(&["profile", &group]);
        let validation = table.get("validation_timeout");
        let pairs = [
            (true, "min_idle", "max"),
            (true, "min_idle", "max_idle"),
            (true, "max", "ceiling"),
            // The pool bounds a built-in validation_timeout by the deadline of the checkout.
            (
                !validation.is_some_and(is_built_in),
                "validation_timeout",
                "checkout_timeout",
            ),
        ];
        let found = pairs
            .into_iter()
            .filter(|(matters, ..)| *matters)
            .filter_map(|(_, lower, upper)| above(&group, &table, lower, upper));
        for problem in found {
            // A mistake in the profile would appear once more for every pool.
            let told = |earlier: &Problem| {
                earlier.origin == problem.origin && earlier.message == problem.message
            };
            if !problems.iter().any(told) {
                problems.push(problem);
            }
        }
    }
    for section in ["retry", "reconnect"] {
        let table = layers.table(&[section]);
        problems.extend(above(section, &table, "base_delay", "max_delay"));
    }
    if !matches!(environment, Environment::Dev | Environment::Test) {
        for (section, key) in FOR_DEV_AND_TEST {
            problems.extend(switched_on(layers, section, key).map(|origin| {
                let message =
                    format!("expected \"off\" in {environment}; \"on\" is for dev and test alone");
                Problem::new(format!("database.{section}.{key}"), origin, message)
            }));
        }
    }
    problems
}

/// Lists values that another value makes useless, and settings that should not stay on.
pub(crate) fn doubts(layers: &Layers) -> Vec<String> {
    let mut doubts: Vec<Problem> = Vec::new();
    for group in profiles(layers) {
        let table = layers.table(&["profile", &group]);
        let never = |key: &str| {
            table
                .get(key)
                .and_then(quantity)
                .is_none_or(|d| d.is_zero())
        };
        let built_in = table.get("idle_timeout").is_some_and(is_built_in);
        if built_in || never("idle_timeout") || never("max_lifetime") {
            continue;
        }
        let doubt = above(&group, &table, "idle_timeout", "max_lifetime");
        doubts.extend(doubt.filter(|doubt| doubts.iter().all(|told| told.origin != doubt.origin)));
    }
    let shown = doubts
        .iter()
        .map(|doubt| format!("{doubt}: it has no effect"));
    let (section, key) = BIND_VALUES;
    let exposed = switched_on(layers, section, key).map(|origin| {
        format!(
            "database.{section}.{key} ({origin}): the slow-query log shows the values of statements"
        )
    });
    shown.chain(exposed).collect()
}

/// The origin of a switch, if it is on.
fn switched_on(layers: &Layers, section: &str, key: &str) -> Option<Origin> {
    let table = layers.table(&[section]);
    let value = table.get(key)?;
    (value.to_string() == "on").then(|| Origin::new(value.origin().unwrap_or_default()))
}

/// The names of the tables that describe pools.
fn profiles(layers: &Layers) -> impl Iterator<Item = String> {
    let pools = layers
        .pool_names()
        .into_iter()
        .map(|name| format!("pools.{name}"));
    std::iter::once("profile".to_owned()).chain(pools)
}

/// The problem that one value is above another, if it is.
fn above(
    section: &str,
    table: &BTreeMap<String, Value>,
    lower: &str,
    upper: &str,
) -> Option<Problem> {
    let (low, high) = (table.get(lower)?, table.get(upper)?);
    let origin = |value: &Value| Origin::new(value.origin().unwrap_or_default());
    (quantity(low)? > quantity(high)?).then(|| {
        let message = format!(
            "{low} is more than {upper}, which is {high} ({}); expected at most {high}",
            origin(high)
        );
        Problem::new(format!("database.{section}.{lower}"), origin(low), message)
    })
}

/// A count or a duration in a form that can be compared.
fn quantity(value: &Value) -> Option<Duration> {
    match &value.kind {
        ValueKind::U64(count) => Some(Duration::from_secs(*count)),
        ValueKind::String(text) => duration::parse(text),
        _ => None,
    }
}

/// Lets the slow-query log show bound values.
const BIND_VALUES: (&str, &str) = ("slow_query", "bind_values");

/// Switches that may be on only in dev and test.
const FOR_DEV_AND_TEST: [(&str, &str); 2] = [BIND_VALUES, ("migrations", "migrate_on_start")];
