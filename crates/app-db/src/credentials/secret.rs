//! A secret: user and password, and how long and where they are valid.

use db_config::{Credentials, Endpoint, Host};
use db_pool::plumbing;
use tokio::time::Instant;

/// User and password, and how long and where they are valid.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) credentials: Credentials,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) expires: Option<Instant>,
    /// Whether the server ends the sessions when the secret expires.
    pub(crate) is_lease: bool,
}

impl Secret {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            host: None,
            port: None,
            expires: None,
            is_lease: false,
        }
    }

    /// Whether a login with one is the same as a login with the other.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.credentials.are(&other.credentials)
            && (&self.host, self.port) == (&other.host, other.port)
    }

    /// The endpoint with this secret; if `follows` is set, also with the secret's host.
    pub(crate) fn applied_to(&self, endpoint: &Endpoint, follows: bool) -> Endpoint {
        let endpoint = endpoint.with_credentials(&self.credentials);
        match (&self.host, follows) {
            (Some(host), true) => {
                let port = self.port.or_else(|| Some(endpoint.hosts.first()?.port()));
                plumbing::moved(&endpoint, host, port.unwrap_or(5432))
            }
            _ => endpoint,
        }
    }

    /// Whether the secret names the endpoint's only host, or no host at all.
    pub(crate) fn is_for(&self, endpoint: &Endpoint) -> bool {
        let Some(host) = &self.host else {
            return true;
        };
        match endpoint.hosts.as_slice() {
            [Host::Tcp { name, port, .. }] => {
                name.eq_ignore_ascii_case(host) && self.port.is_none_or(|own| own == *port)
            }
            _ => false,
        }
    }
}
