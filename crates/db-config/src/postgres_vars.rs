//! The `POSTGRES_*` variables, which describe an endpoint in pieces if there is no URL.
//!
//! They count only if `POSTGRES_HOST` or `POSTGRES_PRIMARY_HOST` is set. Then each of the others has
//! a default.

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

/// The endpoint for writes. `POSTGRES_PRIMARY_HOST` beats `POSTGRES_HOST`.
pub(crate) fn primary(
    variables: &Variables,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<Params> {
    let unreadable = HOSTS.iter().filter_map(|name| variables.unreadable(name));
    problems.extend(unreadable);
    let host = HOSTS.iter().find_map(|name| variables.find(name))?;
    Some(params(host, variables, dir, problems, warnings))
}

/// The endpoint for reads. Only its host differs from the one for writes.
pub(crate) fn replica(
    variables: &Variables,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<Params> {
    let name = "POSTGRES_REPLICA_HOST";
    problems.extend(variables.unreadable(name));
    let host = variables.find(name).filter(|_| are_given(variables))?;
    Some(params(host, variables, dir, problems, warnings))
}

/// Puts the default sizes of the pool into the built-in layer.
pub(crate) fn default_sizes(layer: &mut Layer, environment: &Environment) {
    // A function keeps its one connection.
    if *environment == Environment::Lambda {
        return;
    }
    for (variable, path, default) in SIZES {
        let origin = Origin::new(format!("{BUILT_IN} ({variable})"));
        // Cannot fail: a test loads these defaults.
        let _ = layer.set(path, default, origin);
    }
}

/// The sizes of the pool that the variables set.
pub(crate) fn sizes(variables: &Variables, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for (variable, path, _) in SIZES {
        if are_given(variables) {
            problems.extend(variables.unreadable(variable));
        }
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
