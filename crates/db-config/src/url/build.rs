//! Writes an endpoint as a URL.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;

use super::options;
use crate::endpoint::{ChannelBinding, Endpoint, Host, TargetSessionAttrs, TlsMode};
use crate::revealed::revealed;

impl Endpoint {
    /// Writes the endpoint as a URL, with the password. Parsing it gives the same endpoint.
    ///
    /// Password and options are percent-encoded, and `sslmode` is always written.
    pub fn to_url(&self) -> SecretString {
        url(self, self.password.as_ref().map(revealed), false).into()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(self))
    }
}

/// Writes the URL with `***` for the password and for each setting that may hold a secret.
pub(super) fn redacted(endpoint: &Endpoint) -> String {
    url(endpoint, endpoint.password.as_ref().map(|_| REDACTED), true)
}

fn url(endpoint: &Endpoint, password: Option<&str>, redact: bool) -> String {
    let mut url = format!("postgres://{}", encode(&endpoint.user));
    match password {
        Some(REDACTED) if redact => url.push_str(":***"),
        Some(password) => url.push_str(&format!(":{}", encode(password))),
        None => {}
    }
    let hosts: Vec<_> = endpoint.hosts.iter().map(host).collect();
    url.push_str(&format!(
        "@{}/{}",
        hosts.join(","),
        encode(&endpoint.dbname)
    ));
    let mut separator = '?';
    for (name, value) in params(endpoint, redact) {
        url.push_str(&format!("{separator}{name}={}", encode(&value)));
        separator = '&';
    }
    url
}

fn host(host: &Host) -> String {
    match host {
        Host::Tcp { name, port, .. } if name.contains(':') => format!("[{}]:{port}", encode(name)),
        Host::Tcp { name, port, .. } => format!("{}:{port}", encode(name)),
        Host::Unix { dir, port } => format!("{}:{port}", encode(&dir.to_string_lossy())),
    }
}

/// The parameters that the URL needs. A parameter is left out if its default means the same.
fn params(endpoint: &Endpoint, redact: bool) -> Vec<(&'static str, String)> {
    let mut params = vec![("sslmode", endpoint.tls.mode.as_str().to_owned())];
    let mut add = |name, value: Option<String>| params.extend(value.map(|value| (name, value)));
    let tls = &endpoint.tls;
    let root_cert = tls
        .root_cert
        .as_ref()
        .filter(|_| tls.mode != TlsMode::Require);
    add(
        "sslrootcert",
        root_cert.map(|file| file.to_string_lossy().into_owned()),
    );
    if let Some((cert, key)) = &tls.client_cert {
        add("sslcert", Some(cert.to_string_lossy().into_owned()));
        add("sslkey", Some(key.to_string_lossy().into_owned()));
    }
    add("sslnegotiation", tls.direct.then(|| "direct".to_owned()));
    add(
        "channel_binding",
        match tls.channel_binding {
            ChannelBinding::Prefer => None,
            other => Some(other.as_str().to_owned()),
        },
    );
    add("hostaddr", addresses(&endpoint.hosts));
    let seconds = |duration: Option<std::time::Duration>| duration.map(|d| d.as_secs().to_string());
    add("connect_timeout", seconds(endpoint.connect_timeout));
    add(
        "tcp_user_timeout",
        endpoint.tcp_user_timeout.map(|d| d.as_millis().to_string()),
    );
    add("keepalives", (!endpoint.keepalives).then(|| "0".to_owned()));
    add("keepalives_idle", seconds(endpoint.keepalives_idle));
    add("keepalives_interval", seconds(endpoint.keepalives_interval));
    add(
        "keepalives_count",
        endpoint.keepalives_retries.map(|count| count.to_string()),
    );
    add(
        "target_session_attrs",
        match endpoint.target_session_attrs {
            TargetSessionAttrs::Any => None,
            other => Some(other.as_str().to_owned()),
        },
    );
    add(
        "load_balance_hosts",
        endpoint.load_balance_hosts.then(|| "random".to_owned()),
    );
    add("application_name", endpoint.application_name.clone());
    add("options", settings(endpoint, redact));
    let declared = endpoint.pooler_hint.as_deref() == Some("pgbouncer=true");
    add("pgbouncer", declared.then(|| "true".to_owned()));
    add(
        "connection_limit",
        endpoint.connection_limit.map(|limit| limit.to_string()),
    );
    add("pool_timeout", seconds(endpoint.pool_timeout));
    params
}

fn settings(endpoint: &Endpoint, redact: bool) -> Option<String> {
    let written: Vec<_> = endpoint
        .settings
        .iter()
        .map(
            |(name, value)| match redact && !PLAIN_SETTINGS.contains(&name.as_str()) {
                true => options::write(name, REDACTED),
                false => options::write(name, value),
            },
        )
        .collect();
    (!written.is_empty()).then(|| written.join(" "))
}

/// `hostaddr` has to be as long as the list of hosts, so it is written only if every host has one.
fn addresses(hosts: &[Host]) -> Option<String> {
    let addrs: Option<Vec<_>> = hosts
        .iter()
        .map(|host| match host {
            Host::Tcp {
                addr: Some(addr), ..
            } => Some(addr.to_string()),
            _ => None,
        })
        .collect();
    addrs.map(|addrs| addrs.join(","))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

const REDACTED: &str = "***";

/// All characters except the unreserved ones of RFC 3986. `*` is not encoded, so that the URL stays
/// readable.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'*');

/// Settings whose values are not secret. The value of a custom setting (`app.token`) may be secret.
const PLAIN_SETTINGS: [&str; 7] = [
    "client_encoding",
    "default_transaction_isolation",
    "idle_in_transaction_session_timeout",
    "lock_timeout",
    "search_path",
    "statement_timeout",
    "timezone",
];
