//! Decides by the name of a URL parameter whether it is kept, ignored or refused.

use crate::nearest;

/// What happens to a parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    Keep,
    Ignore,
    Refuse(String),
    Unknown { suggestion: String },
}

impl Treatment {
    /// Decides by the name. If only some values are supported, the value decides too.
    pub(super) fn of(name: &str, value: &str) -> Treatment {
        if KEPT.contains(&name) {
            return Treatment::Keep;
        }
        if HARMLESS.contains(&(name, value)) {
            return Treatment::Ignore;
        }
        match REFUSED.iter().find(|(refused, _)| *refused == name) {
            Some((_, advice)) => Treatment::Refuse(format!("`{name}` is not supported: {advice}")),
            None => Treatment::Unknown {
                suggestion: nearest::suggestion(name, KEPT.iter().copied()),
            },
        }
    }
}

const KEPT: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "passfile",
    "sslmode",
    "ssl",
    "sslaccept",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "channel_binding",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "keepalives_retries",
    "target_session_attrs",
    "load_balance_hosts",
    "application_name",
    "fallback_application_name",
    "options",
    "client_encoding",
    "search_path",
    "schema",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "TimeZone",
    "timezone",
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "supa",
    "workaround",
];

/// Values that change nothing, because they ask for what happens anyway.
const HARMLESS: &[(&str, &str)] = &[
    // node-postgres: "read sslmode as libpq does".
    ("uselibpqcompat", "true"),
    ("gssencmode", "disable"),
    ("gssencmode", "prefer"),
    ("sslcompression", "0"),
    ("sslsni", "1"),
    ("sslcertmode", "allow"),
    ("min_protocol_version", "3.0"),
    ("max_protocol_version", "3.0"),
    ("ssl_min_protocol_version", "TLSv1"),
    ("ssl_min_protocol_version", "TLSv1.1"),
    ("ssl_min_protocol_version", "TLSv1.2"),
];

const REFUSED: &[(&str, &str)] = &[
    (
        "service",
        "service files are not read; write host, user and database into the URL",
    ),
    (
        "servicefile",
        "service files are not read; write host, user and database into the URL",
    ),
    (
        "gssencmode",
        "there is no GSSAPI encryption; use sslmode=verify-full, or gssencmode=disable",
    ),
    (
        "gssdelegation",
        "there is no GSSAPI login; use a password or a client certificate",
    ),
    (
        "gsslib",
        "there is no GSSAPI login; use a password or a client certificate",
    ),
    (
        "krbsrvname",
        "there is no Kerberos login; use a password or a client certificate",
    ),
    (
        "require_auth",
        "the login method cannot be demanded; channel_binding=require demands SCRAM over TLS",
    ),
    (
        "requirepeer",
        "the server's process owner cannot be checked; guard the socket's directory",
    ),
    ("requiressl", "it is obsolete; use sslmode=require"),
    (
        "min_protocol_version",
        "protocol 3.0 is spoken; remove it, or write 3.0",
    ),
    (
        "max_protocol_version",
        "protocol 3.0 is spoken; remove it, or write 3.0",
    ),
    (
        "ssl_min_protocol_version",
        "TLS 1.2 and 1.3 are spoken; write TLSv1.2, and demand 1.3 at the server",
    ),
    (
        "ssl_max_protocol_version",
        "TLS 1.2 and 1.3 are spoken; remove it",
    ),
    ("sslcompression", "there is no TLS compression; remove it"),
    ("sslsni", "the server's name is always sent; remove it"),
    (
        "sslcertmode",
        "a client certificate is sent when sslcert names one; remove it",
    ),
    (
        "sslcrl",
        "revocation lists are not read; revoke by replacing the authority",
    ),
    (
        "sslcrldir",
        "revocation lists are not read; revoke by replacing the authority",
    ),
    (
        "sslpassword",
        "encrypted client keys are not read; give a key without a passphrase",
    ),
    (
        "sslidentity",
        "PKCS#12 files are not read; give sslcert and sslkey",
    ),
    ("replication", "replication connections are not made"),
    ("sslkeylogfile", "session keys are not logged; remove it"),
    (
        "statement_cache_size",
        "set database.profile.pooler instead",
    ),
    ("prepareThreshold", "set database.profile.pooler instead"),
    ("prepared_statements", "set database.profile.pooler instead"),
    (
        "socket_timeout",
        "use statement_timeout or tcp_user_timeout",
    ),
    (
        "max_idle_connection_lifetime",
        "set database.profile.idle_timeout instead",
    ),
    (
        "max_connection_lifetime",
        "set database.profile.max_lifetime instead",
    ),
    ("currentSchema", "use search_path or schema"),
    ("targetServerType", "use target_session_attrs"),
    ("ApplicationName", "use application_name"),
    ("loginTimeout", "use connect_timeout"),
    ("socketTimeout", "use statement_timeout or tcp_user_timeout"),
    ("tcpKeepAlive", "use keepalives"),
    ("encoding", "use client_encoding"),
    ("pool", "set database.profile.max instead"),
    ("pool_max_conns", "set database.profile.max instead"),
    ("pool_min_conns", "set database.profile.min_idle instead"),
    (
        "pool_max_conn_lifetime",
        "set database.profile.max_lifetime instead",
    ),
    (
        "pool_max_conn_idle_time",
        "set database.profile.idle_timeout instead",
    ),
    ("authSource", "this looks like the URL of another database"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_can_be_honoured_pass() {
        assert_eq!(Treatment::of("gssencmode", "prefer"), Treatment::Ignore);
        for (name, value) in [
            ("gssencmode", "require"),
            ("service", "x"),
            ("require_auth", "md5"),
        ] {
            let Treatment::Refuse(advice) = Treatment::of(name, value) else {
                panic!("{name}={value} passed");
            };
            assert!(advice.contains(name), "{advice}");
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest() {
        assert_eq!(
            Treatment::of("sslmod", "x"),
            Treatment::Unknown {
                suggestion: "; did you mean `sslmode`?".into()
            }
        );
    }
}
