//! Advice that follows from the examination.

use std::collections::BTreeMap;

use app_db::db_pool::{ConnectFailure, Pooler, PoolerMode, Statements};
use app_db::{Config, Environment};

use crate::doctor::configured_endpoint::Role;
use crate::doctor::examined::{Examined, PoolReport};
use crate::doctor::on_pgbouncer::on_pgbouncer;
use crate::doctor::on_times::on_times;
use crate::doctor::one_advice::{Advice, Level, note, problem};

/// All advice, problems first.
pub(super) fn on(config: &Config, endpoints: &[Examined]) -> Vec<Advice> {
    let mut advice = Vec::new();
    if let Err(error) = config.direct_url() {
        advice.push(problem("direct", error));
    }
    let variable = direct_variable(config);
    for endpoint in endpoints {
        match endpoint.error {
            Some(_) => {
                advice.extend(on_failure(endpoint));
                advice.extend(on_pgbouncer(endpoint));
            }
            None => {
                advice.extend(on_role(endpoint, &variable));
                advice.extend(on_functions(config, endpoint));
                let pools = endpoint.pools.iter();
                advice.extend(pools.filter_map(|pool| on_pool(endpoint, pool)));
                let pools = endpoint.pools.iter();
                advice.extend(pools.flat_map(|pool| on_times(endpoint, pool)));
                advice.extend(on_pgbouncer(endpoint));
            }
        }
    }
    advice.extend(on_limits(endpoints));
    advice.sort_by_key(|advice| advice.level != Level::Problem);
    advice
}

/// Advice on a failed connection. The report of the endpoint has the error itself.
fn on_failure(endpoint: &Examined) -> Option<Advice> {
    let what = match endpoint.failure? {
        ConnectFailure::Unreachable | ConnectFailure::UnknownHost | ConnectFailure::TimedOut => {
            "is the server running, and are host and port right"
        }
        ConnectFailure::Authentication => "are user and password right",
        ConnectFailure::NoSuchDatabase => "is the database's name right, and has it been created",
        ConnectFailure::Tls => "do sslmode and sslrootcert fit the server's certificate",
        ConnectFailure::TooManyConnections => "who takes all connections of the server",
        _ => return None,
    };
    let message = format!("{what}? The URL is from {}", endpoint.origin);
    Some(problem(&endpoint.name, message))
}

fn on_role(endpoint: &Examined, direct_variable: &str) -> Vec<Advice> {
    let mut advice = Vec::new();
    let is_pooler = endpoint.found != Pooler::None;
    if endpoint.role == Role::Direct && is_pooler {
        let probably = endpoint.probable_direct.as_ref();
        let probably = probably.map_or_else(String::new, |url| format!(", probably {url}"));
        let message = format!(
            "leads to a pooler or proxy, and migrations, LISTEN and session locks need the server itself: \
             set {direct_variable} to its own URL{probably} (`dbctl migrate run --through-proxy` accepts a \
             proxy that keeps one server connection per client)"
        );
        advice.push(problem(&endpoint.name, message));
    }
    match (endpoint.role, endpoint.in_recovery) {
        (Role::Pooled | Role::Direct, Some(true)) => advice.push(problem(
            &endpoint.name,
            "the server is in recovery and takes no writes: name the primary",
        )),
        (Role::Replica, Some(false)) => advice.push(note(
            &endpoint.name,
            "the server is not in recovery: it is a primary, and no replica",
        )),
        _ => {}
    }
    if endpoint.role != Role::Direct && !endpoint.alter_role.is_empty() {
        let message = format!(
            "the pool sends its settings with each transaction, because the pooler shares the sessions; with \
             `{}` the server has them by itself",
            endpoint.alter_role.join(" ")
        );
        advice.push(note(&endpoint.name, message));
    }
    if let (Some(hint), false) = (&endpoint.url_hint, is_pooler) {
        let message = format!("{hint} suggests a pooler, but PostgreSQL itself answers");
        advice.push(note(&endpoint.name, message));
    }
    advice
}

/// The platform starts any number of functions, each with a connection of its own.
fn on_functions(config: &Config, endpoint: &Examined) -> Option<Advice> {
    let reaches_the_server = endpoint.role == Role::Pooled && endpoint.found == Pooler::None;
    let are_functions = *config.environment() == Environment::Lambda;
    (are_functions && reaches_the_server).then(|| {
        let message = "each function takes a connection of the server, and many functions exhaust the server: connect \
                       through a pooler";
        note(&endpoint.name, message)
    })
}

/// Compares what a pool is configured for with what was found.
fn on_pool(endpoint: &Examined, pool: &PoolReport) -> Option<Advice> {
    let name = &pool.name;
    let shared = matches!(endpoint.found, Pooler::Shared { .. });
    if shared && pool.profile.pooler == PoolerMode::None {
        let message = format!(
            "pool `{name}` has pooler = \"none\", but a pooler answers: set it to \"auto\", because \
             statements and settings may reach other clients' sessions"
        );
        return Some(problem(&endpoint.name, message));
    }
    let nameless = Pooler::Shared { keeps_names: false };
    if pool.profile.statements == Statements::Named && pool.in_force == nameless {
        let message = format!(
            "pool `{name}` has statements = \"named\", but the pooler is not proven to keep names: set it to \
             \"auto\""
        );
        return Some(problem(&endpoint.name, message));
    }
    let message = match (pool.profile.pooler, shared) {
        (PoolerMode::Session, true) => format!(
            "pool `{name}` trusts the pooler to be in session mode, as configured; that cannot be \
             seen from here"
        ),
        (PoolerMode::Auto, false) if endpoint.found == Pooler::Pgpool => format!(
            "pool `{name}` closes a connection whose session was altered, because no reset reaches the sessions \
             on standbys; with load_balance_mode = on, reads may be behind what was just written"
        ),
        (PoolerMode::Session, false) if endpoint.found == Pooler::Pgpool => format!(
            "pool `{name}` has pooler = \"session\", but Pgpool-II answers, and no reset reaches the \
             sessions on its standbys: set it to \"auto\""
        ),
        (PoolerMode::Session | PoolerMode::Transaction, false)
            if endpoint.found == Pooler::None =>
        {
            format!(
                "pool `{name}` is configured for a pooler, but PostgreSQL itself answers: pooler = \"auto\" saves \
             the cost of that"
            )
        }
        (PoolerMode::Auto, true) if endpoint.found == nameless => format!(
            "pool `{name}` parses each statement whenever it runs: PgBouncer keeps names from 1.21 on with \
             max_prepared_statements; if it is in session mode, set pooler = \"session\""
        ),
        _ => return None,
    };
    Some(note(&endpoint.name, message))
}

/// Compares the pools of one instance, taken together, with what each server has.
fn on_limits(endpoints: &[Examined]) -> Vec<Advice> {
    let mut servers: BTreeMap<&str, Vec<&Examined>> = BTreeMap::new();
    for endpoint in endpoints {
        if let Some(server) = &endpoint.server {
            servers.entry(server).or_default().push(endpoint);
        }
    }
    servers.values().filter_map(|same| on_limit(same)).collect()
}

fn on_limit(same: &[&Examined]) -> Option<Advice> {
    let first = same.first()?;
    let max = first.max_connections?;
    let available = max - first.reserved_connections?;
    let free = same.iter().filter_map(|one| one.free_connections).min()?;
    let pools = || same.iter().flat_map(|endpoint| &endpoint.pools);
    let wanted: i64 = pools().map(|pool| i64::from(pool.max)).sum();
    // A pooler that shares server connections keeps its clients away from this limit.
    let own = pools().filter(|pool| !matches!(pool.in_force, Pooler::Shared { .. }));
    let own: i64 = own.map(|pool| i64::from(pool.max)).sum();
    let names: Vec<_> = same.iter().map(|one| one.name.as_str()).collect();
    let names = names.join(", ");
    if own > available {
        let message = format!(
            "the pools of one instance take up to {own} connections, but the server has {available} for \
             clients: lower their max"
        );
        return Some(problem(&names, message));
    }
    let message = if wanted > available {
        format!(
            "the pools of one instance take up to {wanted} connections, but the server has {available} for \
             clients: that is only right while the pooler shares them"
        )
    } else if own * 5 > max * 4 {
        format!(
            "one instance takes up to {own} of the server's {max} connections: keep 10 to 20 % for \
             maintenance and emergencies"
        )
    } else if own > free {
        format!("one instance takes up to {own} connections, but only {free} are free now")
    } else {
        return None;
    };
    Some(note(&names, message))
}

/// The variable from which the direct URL is read. The configuration may name another one.
fn direct_variable(config: &Config) -> String {
    let key = "database.direct_url_variable";
    let explained = config.explain().find(|explained| explained.key == key);
    explained.map_or_else(|| "DATABASE_URL_DIRECT".to_owned(), |found| found.value)
}
