//! What the driver is told of one attempt: where, as whom, and with which password.

use std::net::SocketAddr;
use std::time::Duration;

use db_config::{
    ChannelBinding, Endpoint, ExposeSecret, Host, SecretString, TargetSessionAttrs, TlsMode,
};
use tokio_postgres::config as pg;

use crate::connect::addresses::unix_socket;
use crate::connect::connector::Negotiation;
use crate::connect::session_settings::SessionSettings;

/// What the kernel is told of a socket unless the URL says otherwise; `None` leaves the system's own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SocketBounds {
    pub(crate) keepalive_idle: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
}

/// The login as tokio-postgres takes it, with the handshake left to our connector.
pub(crate) fn driver_config(
    endpoint: &Endpoint,
    at: Option<SocketAddr>,
    negotiation: Negotiation,
    settings: &SessionSettings,
    bounds: SocketBounds,
) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .user(&endpoint.user)
        .dbname(&endpoint.dbname)
        .application_name(&settings.application_name)
        .keepalives(endpoint.keepalives)
        .channel_binding(match endpoint.tls.channel_binding {
            ChannelBinding::Disable => pg::ChannelBinding::Disable,
            ChannelBinding::Prefer => pg::ChannelBinding::Prefer,
            ChannelBinding::Require => pg::ChannelBinding::Require,
        });
    if let Some(password) = &endpoint.password {
        put(password, &mut config);
    }
    if let Some(bound) = endpoint.connect_timeout {
        config.connect_timeout(bound);
    }
    if let Some(bound) = endpoint.tcp_user_timeout.or(bounds.user_timeout) {
        config.tcp_user_timeout(bound);
    }
    // The system's own times between probes add up to eleven minutes for a peer that is gone.
    let ours = bounds.keepalive_idle;
    if let Some(idle) = endpoint.keepalives_idle.or(ours) {
        config.keepalives_idle(idle);
    }
    if let Some(interval) = endpoint
        .keepalives_interval
        .or(ours.and(Some(PROBE_INTERVAL)))
    {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = endpoint.keepalives_retries.or(ours.and(Some(PROBES))) {
        config.keepalives_retries(retries);
    }
    if unix_socket(endpoint).is_some() {
        config.ssl_mode(pg::SslMode::Disable);
        return config;
    }
    let (mode, asks) = match negotiation {
        Negotiation::Handshake if endpoint.tls.direct => {
            (pg::SslMode::Require, pg::SslNegotiation::Direct)
        }
        Negotiation::Handshake => match endpoint.tls.mode {
            TlsMode::Prefer | TlsMode::Allow => (pg::SslMode::Prefer, pg::SslNegotiation::Postgres),
            _ => (pg::SslMode::Require, pg::SslNegotiation::Postgres),
        },
        // It asks for nothing and takes what the connector makes of the socket.
        _ => (pg::SslMode::Require, pg::SslNegotiation::Direct),
    };
    config
        .ssl_mode(mode)
        .ssl_negotiation(asks)
        .target_session_attrs(match endpoint.target_session_attrs {
            TargetSessionAttrs::ReadWrite => pg::TargetSessionAttrs::ReadWrite,
            TargetSessionAttrs::ReadOnly => pg::TargetSessionAttrs::ReadOnly,
            _ => pg::TargetSessionAttrs::Any,
        });
    if let ([Host::Tcp { name, .. }], Some(address)) = (endpoint.hosts.as_slice(), at) {
        // The name stays, for the certificate.
        config
            .host(name)
            .hostaddr(address.ip())
            .port(address.port());
    }
    config
}

/// Puts the password into a configuration that is dropped when the attempt is over.
#[expect(
    clippy::disallowed_methods,
    reason = "this is where a password goes to the server"
)]
fn put(password: &SecretString, config: &mut tokio_postgres::Config) {
    config.password(password.expose_secret());
}

/// How far apart keepalive probes follow the first one, and after how many without an answer the peer is
/// gone.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
