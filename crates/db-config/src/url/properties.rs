//! Properties of every URL: it is read as it was built, and its password is shown nowhere.

use std::path::PathBuf;
use std::time::Duration;

use crate::revealed::revealed;
use proptest::prelude::*;

use super::*;
use crate::endpoint::{ChannelBinding, Host, TargetSessionAttrs, Tls, TlsMode};

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[^\\p{C}]{1,12}").unwrap()
}

fn host() -> impl Strategy<Value = Host> {
    let port = 1..=u16::MAX;
    prop_oneof![
        ("[a-z][a-z0-9.-]{0,10}", port.clone()).prop_map(|(name, port)| Host::Tcp {
            name,
            addr: None,
            port
        }),
        (any::<std::net::Ipv6Addr>(), port.clone()).prop_map(|(ip, port)| Host::Tcp {
            name: ip.to_string(),
            addr: None,
            port
        }),
        ("/[a-z :@%]{1,8}", port).prop_map(|(dir, port)| Host::Unix {
            dir: dir.into(),
            port
        }),
    ]
}

prop_compose! {
    fn endpoint()(
        hosts in proptest::collection::vec(host(), 1..4),
        (user, dbname, password, application_name) in (text(), text(), proptest::option::of(text()), proptest::option::of(text())),
        settings in proptest::collection::btree_map("(search_path|timezone|app\\.[a-z]{1,4})", text(), 0..3),
        mode in prop_oneof![Just(TlsMode::Prefer), Just(TlsMode::Require), Just(TlsMode::VerifyCa), Just(TlsMode::VerifyFull)],
        root_cert in proptest::option::of("[a-z/ ]{1,6}"),
        client_cert in proptest::option::of(("[a-z/ ]{1,6}", "[a-z/&=]{1,6}")),
        binding in prop_oneof![Just(ChannelBinding::Disable), Just(ChannelBinding::Prefer)],
        seconds in proptest::collection::vec(proptest::option::of((1u32..100_000).prop_map(|s| Duration::from_secs(s.into()))), 4),
        (tcp_user_timeout, retries, limit) in (proptest::option::of(1u32..1_000_000), proptest::option::of(1u32..99), proptest::option::of(1u32..99)),
        (keepalives, load_balance_hosts, pgbouncer) in any::<(bool, bool, bool)>(),
        target_session_attrs in proptest::sample::select(vec![
            TargetSessionAttrs::Any, TargetSessionAttrs::ReadWrite, TargetSessionAttrs::ReadOnly,
            TargetSessionAttrs::Primary, TargetSessionAttrs::Standby, TargetSessionAttrs::PreferStandby,
        ]),
    ) -> Endpoint {
        // `require` with a file of authorities is `verify-ca`, so that pair does not come back.
        let root_cert = root_cert.filter(|_| mode != TlsMode::Require).map(PathBuf::from);
        let client_cert = client_cert.map(|(cert, key)| (cert.into(), key.into()));
        let mut endpoint = Endpoint {
            hosts, dbname, user, password: password.map(Into::into),
            tls: Tls { mode, root_cert, extra_roots: Vec::new(), client_cert, direct: mode >= TlsMode::VerifyCa, channel_binding: binding },
            connect_timeout: seconds[0], tcp_user_timeout: tcp_user_timeout.map(|ms| Duration::from_millis(ms.into())),
            keepalives, keepalives_idle: seconds[1], keepalives_interval: seconds[2], keepalives_retries: retries,
            target_session_attrs, load_balance_hosts, application_name, settings,
            pooler_hint: None, connection_limit: limit, pool_timeout: seconds[3],
        };
        endpoint.pooler_hint = match pgbouncer {
            true => Some("pgbouncer=true".to_owned()),
            false => pooler_hint::hint(&endpoint),
        };
        endpoint
    }
}

/// Every field, the password in the clear.
fn fields(endpoint: &Endpoint) -> String {
    let Endpoint {
        hosts,
        dbname,
        user,
        password,
        tls,
        connect_timeout,
        tcp_user_timeout,
        keepalives,
        keepalives_idle,
        keepalives_interval,
        keepalives_retries,
        target_session_attrs,
        load_balance_hosts,
        application_name,
        settings,
        pooler_hint,
        connection_limit,
        pool_timeout,
    } = endpoint;
    let password = password.as_ref().map(revealed);
    format!(
        "{hosts:?} {dbname:?} {user:?} {password:?} {tls:?} {connect_timeout:?} {tcp_user_timeout:?} \
         {keepalives:?} {keepalives_idle:?} {keepalives_interval:?} {keepalives_retries:?} \
         {target_session_attrs:?} {load_balance_hosts:?} {application_name:?} {settings:?} \
         {pooler_hint:?} {connection_limit:?} {pool_timeout:?}"
    )
}

proptest! {
    /// req 2.19: parse(build(x)) is x.
    #[test]
    fn what_is_built_parses_back(endpoint in endpoint()) {
        let url = endpoint.to_url();
        let back = PooledUrl::parse(revealed(&url)).unwrap();
        prop_assert_eq!(fields(back.endpoint()), fields(&endpoint));
    }

    /// req 4.47, case R49: no output contains the password, whatever else the URL holds.
    #[test]
    fn a_password_is_in_no_output(endpoint in endpoint()) {
        let endpoint = endpoint.with_credentials(&crate::Credentials::new("u", "Canary%/@9"));
        let url = PooledUrl::parse(revealed(&endpoint.to_url())).unwrap();
        let shown = format!("{url} {url:?} {} {:?}", url.endpoint(), url.endpoint().probable_direct());
        prop_assert!(!shown.contains("Canary"), "{}", shown);
    }

    /// req 4.47, case R49: a password written raw, with any character in it, is in no error.
    #[test]
    fn a_raw_password_is_in_no_error(
        head in "[ -~]{0,6}", tail in "[ -~]{0,6}",
        query in prop_oneof![Just(""), Just("?sslmode=bad"), Just("?bad=1"), Just("?password=")],
    ) {
        let secret = format!("Canary{head}CANARY{tail}Canary");
        for url in [
            format!("postgres://u:{secret}@h:5432/d{query}"),
            format!("postgres://h/d?user=u&password={secret}&sslmode=require"),
            // Without its host, what follows an `@` in the password is the host.
            format!("postgres://u:{}", secret.replace('@', "")),
            secret.clone(),
            format!("host=h user=u password={secret}"),
            format!("host=h password='{secret}' user=u sslmode=bad"),
            format!("host=h user=u pwd={}", secret.replace('R', "R x")),
        ] {
            let shown = match PooledUrl::parse(&url) {
                Ok(url) => format!("{url} {url:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.to_uppercase().contains("CANARY"), "{} -> {}", url, shown);
        }
    }
}
