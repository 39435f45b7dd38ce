//! Parameters that mean something unexpected in libpq.

use super::*;
use crate::revealed::revealed;

fn mode(query: &str) -> TlsMode {
    parsed(&format!("postgres://u@h/d?{query}")).tls.mode
}

/// `?sslmode=prefer&ssl=true`: to libpq `ssl=true` is `sslmode=require`, and the later one wins.
#[test]
fn of_ssl_and_sslmode_the_later_one_wins() {
    for known in [
        "disable",
        "allow",
        "prefer",
        "require",
        "verify-ca",
        "verify-full",
    ] {
        for ssl in ["ssl=true", "ssl=1", "ssl=on"] {
            assert_eq!(mode(&format!("sslmode={known}&{ssl}")), TlsMode::Require);
            let later = mode(&format!("{ssl}&sslmode={known}"));
            assert_eq!(later.as_str(), known);
        }
    }
    assert_eq!(mode("ssl=true"), TlsMode::Require);
    assert_eq!(mode("ssl=false"), TlsMode::Disable);
    assert_eq!(mode("sslmode=disable&ssl=false"), TlsMode::Disable);
    for (query, why) in [
        ("sslmode=require&ssl=false", "contradicts"),
        ("ssl=true&ssl=true", "given twice"),
        ("sslmode=require&ssl=true&sslmode=prefer", "given twice"),
        ("ssl=", "expected true or false"),
        ("ssl=yes", "expected true or false"),
    ] {
        let error = refused(&format!("postgres://u@h/d?{query}"));
        assert!(error.contains(why), "{query}: {error}");
    }
}

/// `?sslmode=` and the like: an empty word or number is an error to libpq.
#[test]
fn an_empty_word_or_number_is_refused_and_an_empty_name_is_not_given() {
    for name in [
        "sslmode",
        "sslnegotiation",
        "channel_binding",
        "target_session_attrs",
        "load_balance_hosts",
        "connect_timeout",
        "tcp_user_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "statement_timeout",
        "lock_timeout",
        "pgbouncer",
        "connection_limit",
        "pool_timeout",
        "sslaccept",
        "gssencmode",
    ] {
        let error = refused(&format!("postgres://u@h/d?{name}="));
        assert!(error.contains(name), "{name}: {error}");
    }
    let endpoint =
        parsed("postgres://u@h/d?application_name=&options=&passfile=&port=&sslrootcert=");
    assert_eq!(
        (endpoint.application_name, endpoint.tls.root_cert),
        (None, None)
    );
    assert_eq!(endpoint.hosts, [tcp("h", 5432)]);
}

/// Certificate files without `sslmode` are used, even for a local host.
#[test]
fn files_of_certificates_ask_for_tls() {
    for host in ["localhost", "127.0.0.1", "[::1]", "db.example"] {
        let tls = parsed(&format!("postgres://u@{host}/d?sslrootcert=ca")).tls;
        assert_eq!(
            (tls.mode, tls.root_cert),
            (TlsMode::VerifyCa, Some("ca".into()))
        );
        let tls = parsed(&format!("postgres://u@{host}/d?sslcert=c&sslkey=k")).tls;
        assert_eq!(tls.mode, TlsMode::Require, "{host}");
        let tls = parsed(&format!(
            "postgres://u@{host}/d?sslmode=disable&sslrootcert=ca"
        ))
        .tls;
        assert_eq!(tls.mode, TlsMode::Disable, "{host}");
    }
    // There is no TLS over a Unix socket.
    let tls = parsed("postgres://u@/d?host=/tmp&sslrootcert=ca").tls;
    assert_eq!(tls.mode, TlsMode::Disable);
}

/// A primary with `default_transaction_read_only = on` is no standby, so none of the six stands for
/// another one.
#[test]
fn all_six_values_of_target_session_attrs_are_kept_apart() {
    for (value, expected) in [
        ("any", TargetSessionAttrs::Any),
        ("read-write", TargetSessionAttrs::ReadWrite),
        ("read-only", TargetSessionAttrs::ReadOnly),
        ("primary", TargetSessionAttrs::Primary),
        ("standby", TargetSessionAttrs::Standby),
        ("prefer-standby", TargetSessionAttrs::PreferStandby),
    ] {
        let endpoint = parsed(&format!("postgres://u@h/d?target_session_attrs={value}"));
        assert_eq!(endpoint.target_session_attrs, expected);
        assert_eq!(expected.as_str(), value);
        let again = parsed(revealed(&endpoint.to_url()));
        assert_eq!(again.target_session_attrs, expected);
    }
}

/// dbmate#229: a URL without a host means the default Unix socket, in every way of writing no host.
#[cfg(unix)]
#[test]
fn no_host_is_the_default_socket() {
    for (url, port) in [
        ("postgres:///app", 5432),
        ("postgres://", 5432),
        ("postgres://u@/app", 5432),
        ("postgres://u@:6000/app", 6000),
        ("postgres://:6000", 6000),
        ("postgres:///app?host=", 5432),
        ("postgres:///app?port=6000", 6000),
        ("dbname=app", 5432),
        ("port=6000 user=u", 6000),
    ] {
        let endpoint = parsed(url);
        let [Host::Unix { dir, port: found }] = endpoint.hosts.as_slice() else {
            panic!("{url}: {endpoint}");
        };
        assert!(
            ["/var/run/postgresql", "/tmp"]
                .map(PathBuf::from)
                .contains(dir),
            "{url}: {dir:?}"
        );
        assert_eq!(*found, port, "{url}");
        assert!(endpoint.is_local() && endpoint.tls.mode == TlsMode::Disable);
    }
}

/// A URL without a user means the operating system's user, as in `psql postgres:///app`.
#[test]
fn no_user_is_that_of_the_operating_system() {
    let user = whoami::username().unwrap();
    for url in [
        "postgres://h/d",
        "postgres://:p@h/d",
        "postgres://@h/d",
        "host=h",
        "postgres://h/?user=",
    ] {
        assert_eq!(parsed(url).user, user, "{url}");
    }
    assert_eq!(
        parsed("postgres://h").dbname,
        user,
        "the database is named for the user"
    );
}

/// libpq's other form, `key=value`.
#[test]
fn pairs_are_read_as_libpq_reads_them() {
    let endpoint = parsed(
        r"host = 'db.example' port=5433 user=it\'s password='p \'q\\' dbname=d connect_timeout=3 application_name = ''",
    );
    assert_eq!(endpoint.address(), "db.example:5433/d");
    assert_eq!(endpoint.user, "it's");
    assert_eq!(revealed(endpoint.password.as_ref().unwrap()), r"p 'q\");
    assert_eq!(endpoint.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(endpoint.application_name, None);
    let endpoint = parsed("user=u password=postgres://x host=a,b");
    assert_eq!(endpoint.hosts, [tcp("a", 5432), tcp("b", 5432)]);
    for (text, why) in [
        ("host=h user", "without `=`"),
        ("host=h user='u", "not closed"),
        ("host=h usr=u", "did you mean `user`?"),
        ("user=u user=v", "given twice"),
        ("user=u service=x", "service files"),
        ("user=u password=can ary=1", "unknown parameter"),
        ("user=u password=can ary", "without `=`"),
        ("user=u pwd=can ary=1", "unknown parameter"),
    ] {
        let error = refused(text);
        assert!(
            error.contains(why) && !error.contains("ary"),
            "{text}: {error}"
        );
    }
}

/// `?options=-c+search_path%3Dapp`: a form writes `+` for a blank, and a URL does not.
#[test]
fn a_plus_for_a_blank_in_options_is_refused_with_advice() {
    for options in [
        "-c+search_path%3Dapp",
        "-c%20search_path%3Dapp+-c%20work_mem%3D1MB",
        "--search_path%3Dapp+--work_mem%3D1MB",
    ] {
        let error = refused(&format!("postgres://u@h/d?options={options}"));
        assert!(error.contains("write %20 for a blank"), "{error}");
    }
    let endpoint =
        parsed("postgres://u@h/d?options=-c%20timezone%3DEtc/GMT+3&application_name=a+b");
    assert_eq!(endpoint.settings["timezone"], "Etc/GMT+3");
    assert_eq!(
        endpoint.application_name.as_deref(),
        Some("a+b"),
        "as libpq"
    );
}
