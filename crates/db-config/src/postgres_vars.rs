//! The `POSTGRES_*` variables: an endpoint in pieces, for those who have no URL.
//!
//! They count only when `POSTGRES_HOST` or `POSTGRES_PRIMARY_HOST` is set; then what is missing has
//! a default (req 2.03, req 2.04, req 2.32).

use std::path::Path;

use crate::environment::Environment;
use crate::error::Problem;
use crate::layer::{BUILT_IN, Layer};
use crate::origin::Origin;
use crate::secret_file::text_or_file;
use crate::url::Params;
use crate::variables::{Variable, Variables};

/// Whether the variables count.
pub(crate) fn are_given(variables: &Variables) -> bool {
    HOSTS.iter().any(|name| variables.find(name).is_some())
}

/// The write side: the primary's host where one is named.
pub(crate) fn primary(
    variables: &Variables,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<Params> {
    let host = HOSTS.iter().find_map(|name| variables.find(name))?;
    Some(params(host, variables, dir, problems, warnings))
}

/// The read side: the same but for the host.
pub(crate) fn replica(
    variables: &Variables,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<Params> {
    let host = variables
        .find("POSTGRES_REPLICA_HOST")
        .filter(|_| are_given(variables))?;
    Some(params(host, variables, dir, problems, warnings))
}

/// The defaults of the pool's size, which are part of the built-in layer.
pub(crate) fn default_sizes(layer: &mut Layer, environment: &Environment) {
    // req 1.06: a function keeps its one connection.
    if *environment == Environment::Lambda {
        return;
    }
    for (variable, path, default) in SIZES {
        let origin = Origin::new(format!("{BUILT_IN} ({variable})"));
        // The defaults are of their kinds, as a test of the layer proves.
        let _ = layer.set(path, default, origin);
    }
}

/// The pool's size where the variables set it.
pub(crate) fn sizes(variables: &Variables, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for (variable, path, _) in SIZES {
        let Some(found) = variables.find(variable).filter(|_| are_given(variables)) else {
            continue;
        };
        if let Err(message) = layer.set(path, found.value, found.origin.clone()) {
            problems.push(Problem::new(variable, found.origin, message));
        }
    }
    layer
}

fn params(
    host: Variable<'_>,
    variables: &Variables,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Params {
    let mut params = Params::new(host.name, host.origin.clone());
    params.set("host", host.value.trim(), host.origin);
    for (variable, name, default) in PARTS {
        let found = match text_or_file(variables, variable, dir, problems, warnings) {
            Some(found) => found,
            None => (
                default.to_owned(),
                Origin::new(format!("{BUILT_IN} ({variable})")),
            ),
        };
        match found.0.chars().any(char::is_control) {
            true => problems.push(Problem::new(variable, found.1, "a control character")),
            false => params.set(name, found.0, found.1),
        }
    }
    params
}

const HOSTS: [&str; 2] = ["POSTGRES_PRIMARY_HOST", "POSTGRES_HOST"];

const PARTS: [(&str, &str, &str); 4] = [
    ("POSTGRES_PORT", "port", "3730"),
    ("POSTGRES_DB", "dbname", "harca_memory"),
    ("POSTGRES_USER", "user", "harca_user"),
    ("POSTGRES_PASSWORD", "password", "password"),
];

const SIZES: [(&str, &str, &str); 2] = [
    ("POSTGRES_POOL_MAX", "profile.max", "20"),
    ("POSTGRES_POOL_MIN", "profile.min_idle", "5"),
];
