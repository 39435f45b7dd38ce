//! The meaning of a connection string, in a form that both readers can produce.

use std::collections::BTreeMap;

use db_config::{Endpoint, ExposeSecret, Host};

/// Each part of the meaning by its name. A part that is not there has its default on both sides.
#[derive(Debug)]
pub(super) struct Meaning(pub(super) BTreeMap<&'static str, String>);

impl Meaning {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test compares what a program must not read"
    )]
    pub(super) fn here(endpoint: &Endpoint) -> Self {
        let hosts: Vec<_> = endpoint.hosts.iter().map(here).collect();
        let seconds =
            |duration: Option<std::time::Duration>| duration.map_or(0, |d| d.as_secs()).to_string();
        let password = endpoint.password.as_ref().map(ExposeSecret::expose_secret);
        let settings: Vec<_> = endpoint
            .settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Meaning(BTreeMap::from([
            ("hosts", hosts.join(",")),
            ("user", endpoint.user.clone()),
            ("password", password.unwrap_or_default().to_owned()),
            ("dbname", endpoint.dbname.clone()),
            ("sslmode", endpoint.tls.mode.to_string()),
            (
                "target_session_attrs",
                endpoint.target_session_attrs.as_str().to_owned(),
            ),
            (
                "load_balance_hosts",
                if endpoint.load_balance_hosts {
                    "random"
                } else {
                    "disable"
                }
                .to_owned(),
            ),
            ("channel_binding", endpoint.tls.channel_binding.to_string()),
            ("connect_timeout", seconds(endpoint.connect_timeout)),
            (
                "tcp_user_timeout",
                endpoint
                    .tcp_user_timeout
                    .map_or(0, |d| d.as_millis())
                    .to_string(),
            ),
            ("keepalives", endpoint.keepalives.to_string()),
            ("keepalives_idle", seconds(endpoint.keepalives_idle)),
            ("keepalives_interval", seconds(endpoint.keepalives_interval)),
            (
                "keepalives_count",
                endpoint.keepalives_retries.unwrap_or(0).to_string(),
            ),
            (
                "application_name",
                endpoint.application_name.clone().unwrap_or_default(),
            ),
            ("settings", settings.join(" ")),
        ]))
    }

    pub(super) fn of_libpq(said: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| said.get(name).cloned().unwrap_or_default();
        let or = |name: &str, default: &str| match said.get(name) {
            Some(value) if !value.is_empty() => value.clone(),
            _ => default.to_owned(),
        };
        let count = |name: &str| {
            text(name)
                .trim()
                .parse::<i64>()
                .unwrap_or(0)
                .max(0)
                .to_string()
        };
        let user = or("user", &text("USER"));
        let option = text("options");
        let option = option.trim_start_matches(['-', 'c', ' ']).replace('-', "_");
        let encoding = match text("client_encoding").as_str() {
            "" => None,
            _ => Some("client_encoding=UTF8".to_owned()),
        };
        let settings: Vec<_> = encoding
            .into_iter()
            .chain((!option.is_empty()).then_some(option))
            .collect();
        Meaning(BTreeMap::from([
            ("hosts", hosts_of_libpq(said)),
            ("password", text("password")),
            ("dbname", or("dbname", &user)),
            ("user", user),
            ("sslmode", or("sslmode", "prefer")),
            ("target_session_attrs", or("target_session_attrs", "any")),
            ("load_balance_hosts", or("load_balance_hosts", "disable")),
            ("channel_binding", or("channel_binding", "prefer")),
            ("connect_timeout", count("connect_timeout")),
            ("tcp_user_timeout", count("tcp_user_timeout")),
            (
                "keepalives",
                (or("keepalives", "1").trim() != "0").to_string(),
            ),
            ("keepalives_idle", count("keepalives_idle")),
            ("keepalives_interval", count("keepalives_interval")),
            ("keepalives_count", count("keepalives_count")),
            (
                "application_name",
                or("application_name", &text("fallback_application_name")),
            ),
            ("settings", settings.join(" ")),
        ]))
    }
}

fn here(host: &Host) -> String {
    match host {
        Host::Tcp { name, addr, port } => {
            let addr = addr
                .map(|addr| addr.to_string())
                .filter(|addr| addr != name);
            format!("{name}/{}:{port}", addr.unwrap_or_default())
        }
        Host::Unix { dir, port } => format!("{}/:{port}", dir.display()),
    }
}

fn hosts_of_libpq(said: &BTreeMap<String, String>) -> String {
    let list = |name: &str| -> Vec<String> {
        let text = said.get(name).map(String::as_str).unwrap_or_default();
        text.split(',').map(str::to_owned).collect()
    };
    let (names, addrs, ports) = (list("host"), list("hostaddr"), list("port"));
    let hosts: Vec<_> = (0..names.len().max(addrs.len()))
        .map(|at| {
            let addr = addrs.get(at).filter(|addr| !addr.is_empty());
            let name = names.get(at).filter(|name| !name.is_empty());
            let port = ports
                .get(at)
                .or(ports.first())
                .map(|port| port.trim())
                .filter(|port| !port.is_empty());
            let named = name.or(addr).map_or(said["HOST"].as_str(), String::as_str);
            let addr = addr
                .filter(|addr| *addr != named)
                .map_or("", String::as_str);
            format!("{named}/{addr}:{}", port.unwrap_or("5432"))
        })
        .collect();
    hosts.join(",")
}
