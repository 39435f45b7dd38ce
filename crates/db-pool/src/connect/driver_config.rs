//! The driver's settings for one attempt: server, user and password.

use std::net::SocketAddr;

use db_config::{
    ChannelBinding, Endpoint, ExposeSecret, Host, SecretString, TargetSessionAttrs, TlsMode,
};
use tokio_postgres::config as pg;

use crate::connect::addresses::unix_socket;
use crate::connect::connector::Negotiation;
use crate::connect::socket_bounds::SocketBounds;

/// The login in tokio-postgres' form. The handshake is left to our connector.
pub(crate) fn driver_config(
    endpoint: &Endpoint,
    at: Option<SocketAddr>,
    negotiation: Negotiation,
    bounds: SocketBounds,
) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config
        .user(&endpoint.user)
        .dbname(&endpoint.dbname)
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
    bounds.apply(endpoint, &mut config);
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
        // It asks for nothing and takes the stream that the connector makes from the socket.
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
