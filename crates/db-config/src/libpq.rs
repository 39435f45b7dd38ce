//! libpq's own variables. They are the lowest layer, and fill in what a URL leaves out.

pub(crate) mod pgpass;

use crate::error::Problem;
use crate::origin::Origin;
use crate::url::Params;
use crate::variables::Variables;

/// Reads the `PG*` variables as connection parameters. A refused variable becomes a problem.
pub(crate) fn params(variables: &Variables, problems: &mut Vec<Problem>) -> Params {
    let mut params = Params::new("PGHOST", Origin::new("PGHOST"));
    for (variable, name) in VARIABLES {
        problems.extend(variables.unreadable(variable));
        let Some(found) = variables.find(variable) else {
            continue;
        };
        match found.value.chars().any(char::is_control) {
            true => problems.push(Problem::new(*variable, found.origin, "a control character")),
            false => params.set(name, found.value, found.origin),
        }
    }
    if let Some(found) = variables.find("PGHOST") {
        params.origin = found.origin;
    }
    for (variable, advice) in REFUSED {
        problems.extend(variables.unreadable(variable));
        if let Some(found) = variables.find(variable) {
            problems.push(Problem::new(*variable, found.origin, *advice));
        }
    }
    params
}

const VARIABLES: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGOPTIONS", "options"),
    ("PGCLIENTENCODING", "client_encoding"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
];

const REFUSED: &[(&str, &str)] = &[
    (
        "PGSERVICE",
        "service files are not read; unset it, and set DATABASE_URL or PGHOST, PGUSER, PGDATABASE",
    ),
    (
        "PGSERVICEFILE",
        "service files are not read; unset it, and set DATABASE_URL or PGHOST, PGUSER, PGDATABASE",
    ),
];
