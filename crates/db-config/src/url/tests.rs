//! What a URL means: one table per question.

mod as_libpq;
mod hosts;
mod refusals;

use std::path::PathBuf;
use std::time::Duration;

use crate::revealed::revealed;

use super::*;
use crate::endpoint::{ChannelBinding, Host, TargetSessionAttrs, Tls, TlsMode};

fn parsed(url: &str) -> Endpoint {
    match PooledUrl::parse(url) {
        Ok(url) => url.into_endpoint(),
        Err(error) => panic!("{url}: {error}"),
    }
}

fn refused(url: &str) -> String {
    match PooledUrl::parse(url) {
        Ok(url) => panic!("accepted as {url}"),
        Err(error) => error.to_string(),
    }
}

fn tcp(name: &str, port: u16) -> Host {
    Host::Tcp {
        name: name.to_owned(),
        addr: None,
        port,
    }
}

#[test]
fn the_parts_of_a_url_are_decoded() {
    let endpoint = parsed("postgresql://us%40er:p%2Fw%3A%25@db.example:5433/my%20db");
    assert_eq!(endpoint.user, "us@er");
    assert_eq!(revealed(endpoint.password.as_ref().unwrap()), "p/w:%");
    assert_eq!(endpoint.hosts, [tcp("db.example", 5433)]);
    assert_eq!(endpoint.dbname, "my db");
    assert_eq!(endpoint.address(), "db.example:5433/my db");
}

#[test]
fn what_is_missing_has_libpqs_default() {
    let endpoint = parsed("postgres://u@");
    assert_eq!(endpoint.dbname, "u");
    assert!(
        endpoint.password.is_none() && endpoint.keepalives && endpoint.connect_timeout.is_none()
    );
    assert_eq!(
        endpoint.tls.mode,
        TlsMode::Disable,
        "a local host that asks for nothing"
    );
    assert_eq!(parsed("postgres://u@h").tls.mode, TlsMode::Prefer);
}

#[test]
fn scheme_case_blanks_and_a_colon_in_the_password_are_accepted() {
    let endpoint = parsed("  POSTGRES://u:p:w@h/d\n");
    assert_eq!(revealed(&endpoint.password.unwrap()), "p:w");
}

/// req 2.16, req 4.48: every mode of libpq is understood, and what looks like one is refused.
#[test]
fn sslmode_has_libpqs_meaning() {
    let mode = |query: &str| parsed(&format!("postgres://u@h/d?{query}")).tls.mode;
    for known in [
        TlsMode::Disable,
        TlsMode::Allow,
        TlsMode::Prefer,
        TlsMode::Require,
        TlsMode::VerifyCa,
        TlsMode::VerifyFull,
    ] {
        assert_eq!(mode(&format!("sslmode={known}")), known);
    }
    assert_eq!(mode("sslrootcert=system"), TlsMode::VerifyFull);
    assert_eq!(
        mode("sslmode=require&sslrootcert=ca.pem"),
        TlsMode::VerifyCa,
        "as libpq does"
    );
    assert_eq!(
        mode("sslmode=require&sslaccept=strict"),
        TlsMode::VerifyFull
    );
    assert_eq!(mode("channel_binding=require"), TlsMode::Require);
    for (query, why) in [
        ("sslmode=no-verify", "write require"),
        ("sslmode=Require", "expected disable, allow"),
        ("sslmode=require&sslrootcert=system", "verify-full"),
        (
            "sslmode=prefer&sslnegotiation=direct",
            "sslmode=require or stronger",
        ),
        (
            "sslmode=disable&channel_binding=require",
            "sslmode=require or stronger",
        ),
        ("sslcert=a.pem", "`sslkey` too"),
        ("sslkey=a.pem", "`sslcert` too"),
    ] {
        let error = refused(&format!("postgres://u@h/d?{query}"));
        assert!(error.contains(why), "{query}: {error}");
    }
    let tls = parsed("postgres://u@h/d?sslmode=verify-full&sslrootcert=ca&sslcert=c&sslkey=k&sslnegotiation=direct&channel_binding=require").tls;
    let expected = Tls {
        extra_roots: Vec::new(),
        mode: TlsMode::VerifyFull,
        root_cert: Some("ca".into()),
        client_cert: Some(("c".into(), "k".into())),
        direct: true,
        channel_binding: ChannelBinding::Require,
    };
    assert_eq!(tls, expected);
}

/// The parameters that real URLs carry and tokio-postgres refuses.
#[test]
fn parameters_of_other_tools_are_mapped() {
    let url = "postgres://u@h/d?pgbouncer=true&connection_limit=5&pool_timeout=7&schema=My App\
               &statement_timeout=30s&keepalives_count=4&keepalives_idle=9&keepalives_interval=2\
               &keepalives=0&client_encoding=utf-8&fallback_application_name=fall\
               &target_session_attrs=primary&tcp_user_timeout=10000&connect_timeout=3\
               &load_balance_hosts=random&gssencmode=disable&uselibpqcompat=true&supa=base-pooler.x\
               &TimeZone=UTC&lock_timeout=5";
    let endpoint = parsed(&url.replace("My App", "My%20App"));
    assert_eq!(endpoint.pooler_hint.as_deref(), Some("pgbouncer=true"));
    assert_eq!(endpoint.connection_limit, Some(5));
    assert_eq!(endpoint.pool_timeout, Some(Duration::from_secs(7)));
    let settings: Vec<_> = endpoint
        .settings
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        settings,
        [
            ("client_encoding", "UTF8"),
            ("lock_timeout", "5"),
            ("search_path", "\"My App\""),
            ("statement_timeout", "30s"),
            ("timezone", "UTC"),
        ]
    );
    assert_eq!(endpoint.keepalives_retries, Some(4));
    assert_eq!(endpoint.keepalives_idle, Some(Duration::from_secs(9)));
    assert_eq!(endpoint.keepalives_interval, Some(Duration::from_secs(2)));
    assert!(!endpoint.keepalives && endpoint.load_balance_hosts);
    assert_eq!(endpoint.application_name.as_deref(), Some("fall"));
    assert_eq!(endpoint.target_session_attrs, TargetSessionAttrs::Primary);
    assert_eq!(
        endpoint.tcp_user_timeout,
        Some(Duration::from_secs(10)),
        "milliseconds, as libpq"
    );
    assert_eq!(endpoint.connect_timeout, Some(Duration::from_secs(3)));
    let standby = parsed(
        "postgres://u@h/d?target_session_attrs=standby&application_name=a&fallback_application_name=b",
    );
    assert_eq!(standby.target_session_attrs, TargetSessionAttrs::Standby);
    assert_eq!(standby.application_name.as_deref(), Some("a"));
}

/// req 2.19: the password is percent-encoded, options are appended encoded, TLS is written.
#[test]
fn the_builder_writes_what_the_parser_reads() {
    let endpoint = parsed(
        "postgres://u%20r:p%40%2F%3A@h/d?sslmode=require&options=-c%20search_path%3Da,%5C%20b",
    );
    assert_eq!(
        revealed(&endpoint.to_url()),
        "postgres://u%20r:p%40%2F%3A@h:5432/d?sslmode=require&options=-c%20search_path%3Da%2C%5C%20b"
    );
}

/// req 4.47, case R49: neither password nor custom settings are shown.
#[test]
fn what_is_shown_of_a_url_hides_the_password_and_custom_settings() {
    let text = "postgres://u:canary@h:6432/d?pgbouncer=true\
                &options=-c%20app.token%3Dcanary%20-c%20search_path%3Dshown";
    let pooled = PooledUrl::parse(text).unwrap();
    let direct = DirectUrl::parse(text).unwrap();
    for shown in [
        format!("{pooled} {pooled:?} {pooled:#?}"),
        format!("{direct} {direct:?} {direct:#?}"),
        format!("{0} {0:?} {0:#?}", pooled.endpoint()),
        pooled.endpoint().probable_direct().unwrap(),
    ] {
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("u:***@h:"), "{shown}");
    }
    let shown = pooled.to_string();
    assert!(
        shown.starts_with("postgres://u:***@h:6432/d?") && shown.contains("shown"),
        "{shown}"
    );
}

#[test]
fn credentials_replace_user_and_password_and_nothing_else() {
    let before = parsed("postgres://u:old@h/?sslmode=require");
    let after = before.with_credentials(&crate::Credentials::new("v", "new"));
    assert_eq!(
        revealed(&after.to_url()),
        "postgres://v:new@h:5432/u?sslmode=require"
    );
}
