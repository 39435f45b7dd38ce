//! The servers of a URL, and what their names and ports show about them.

use std::net::IpAddr;

use super::*;

#[test]
fn hosts_are_lists_addresses_and_sockets() {
    assert_eq!(
        parsed("postgres://u@h1:1,[::1]:2,h3/d").hosts,
        [tcp("h1", 1), tcp("::1", 2), tcp("h3", 5432)]
    );
    assert_eq!(
        parsed("postgres://u@/d?host=a,b&port=6000").hosts,
        [tcp("a", 6000), tcp("b", 6000)]
    );
    let socket = |port| Host::Unix {
        dir: PathBuf::from("/run/pg"),
        port,
    };
    assert_eq!(parsed("postgres://u@%2Frun%2Fpg:7/d").hosts, [socket(7)]);
    assert_eq!(
        parsed("postgres://u@localhost:7/d?host=/run/pg").hosts,
        [socket(7)],
        "the query replaces a placeholder host"
    );
    let addr: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(
        parsed("postgres://u@db/d?hostaddr=10.0.0.1").hosts,
        [Host::Tcp {
            name: "db".into(),
            addr: Some(addr),
            port: 5432
        }]
    );
    for (url, why) in [
        (
            "postgres://u@a,b/d?port=1,2,3",
            "as many as there are hosts",
        ),
        ("postgres://u@a,b/d?hostaddr=10.0.0.1", "as many elements"),
        ("postgres://u@a,,b/d", "empty element"),
        ("postgres://u@[::1/d", "`]`"),
        ("postgres://u@a:0/d", "1 to 65535"),
        ("postgres://u@a:x/d", "1 to 65535"),
        ("postgres://u@::1/d", "brackets"),
        ("postgres://u@@abstract/d", "%40"),
        ("postgres://u@%40abstract/d", "abstract"),
        ("postgres://u@a%20b/d", "neither a name nor an address"),
    ] {
        assert!(refused(url).contains(why), "{url}: {}", refused(url));
    }
}

#[test]
fn loopback_and_sockets_are_local() {
    for url in [
        "postgres://u@localhost/d",
        "postgres://u@127.0.0.9,[::1]/d",
        "postgres://u@/d?host=/tmp",
        "postgres://u@db/d?hostaddr=127.0.0.1",
    ] {
        assert!(parsed(url).is_local(), "{url}");
    }
    for url in [
        "postgres://u@localhost,db/d",
        "postgres://u@localhost.evil/d",
        "postgres://u@10.0.0.1/d",
    ] {
        assert!(!parsed(url).is_local(), "{url}");
    }
}

/// req 1.03: Neon's pooled host, and the direct one without `-pooler`.
#[test]
fn neons_pooled_host_is_recognised_and_its_direct_host_named() {
    let url = "postgres://u:canary@ep-cool-1-pooler.eu.aws.neon.tech/d?sslmode=require&channel_binding=require";
    let endpoint = parsed(url);
    assert_eq!(
        endpoint.pooler_hint.as_deref(),
        Some("`-pooler` in the host")
    );
    let direct = endpoint.probable_direct().unwrap();
    assert!(
        direct.starts_with("postgres://u:***@ep-cool-1.eu.aws.neon.tech:5432/d?"),
        "{direct}"
    );
    assert_eq!(
        parsed("postgres://u@ep-cool-1.eu.aws.neon.tech/d").pooler_hint,
        None
    );
}

/// req 1.05: Supabase's pooled port and its direct one.
#[test]
fn supabases_pooler_is_recognised_and_its_direct_host_named() {
    let endpoint = parsed("postgres://postgres.abc:pw@aws-0-eu.pooler.supabase.com:6543/postgres");
    assert_eq!(
        endpoint.pooler_hint.as_deref(),
        Some("`pooler.supabase.com` in the host")
    );
    let direct = endpoint.probable_direct().unwrap();
    assert!(
        direct.starts_with("postgres://postgres:***@db.abc.supabase.co:5432/postgres"),
        "{direct}"
    );
    let own = parsed("postgres://postgres@db.abc.supabase.co:6543/postgres");
    assert_eq!(own.pooler_hint.as_deref(), Some("port 6543"));
    assert!(
        own.probable_direct()
            .unwrap()
            .contains("db.abc.supabase.co:5432")
    );
    assert_eq!(
        parsed("postgres://u@h:6432/d").pooler_hint.as_deref(),
        Some("port 6432")
    );
    assert_eq!(parsed("postgres://u@h:5432/d").probable_direct(), None);
}

/// A URL that leads to a pooler is never proposed as the URL of the server.
#[test]
fn the_pooler_itself_is_never_the_probable_server() {
    for url in [
        "postgres://u@h/d?pgbouncer=true",
        "postgres://u@h:5433,i/d?pgbouncer=true",
        "postgres://u@/d?host=/run/pgbouncer&pgbouncer=1",
        "postgres://u@h/d?supa=base-pooler.x",
    ] {
        let endpoint = parsed(url);
        assert!(endpoint.pooler_hint.is_some(), "{url}");
        assert_eq!(endpoint.probable_direct(), None, "{url}");
    }
}
