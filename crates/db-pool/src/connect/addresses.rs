//! The addresses of one host: the order in which they are tried, and the error if none works.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use db_config::{Endpoint, Host};
use tokio::net::lookup_host;

use crate::connect::connect_error::{ConnectError, ConnectFailure};

/// What the pool knows about a host from earlier logins.
#[derive(Debug, Default)]
pub(crate) struct HostMemory {
    /// Whether the server last spoke TLS, for a URL that lets the server decide.
    pub(crate) speaks_tls: AtomicBool,
    /// The address at which it answered last.
    answered: Mutex<Option<SocketAddr>>,
}

impl HostMemory {
    pub(crate) fn answered(&self, at: Option<SocketAddr>) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Moves the address that answered last to the front, and leaves the others in the order of the
    /// resolver.
    pub(crate) fn put_best_first(&self, addresses: &mut [Option<SocketAddr>]) {
        let best = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.sort_by_key(|address| *address != best);
    }
}

/// The addresses of a TCP host. For a Unix socket it is a single `None`.
pub(crate) async fn resolve(endpoint: &Endpoint) -> io::Result<Vec<Option<SocketAddr>>> {
    match endpoint.hosts.as_slice() {
        [
            Host::Tcp {
                addr: Some(addr),
                port,
                ..
            },
        ] => Ok(vec![Some(SocketAddr::new(*addr, *port))]),
        [Host::Tcp { name, port, .. }] => {
            let mut found: Vec<SocketAddr> = Vec::new();
            for address in lookup_host((name.as_str(), *port)).await? {
                if !found.contains(&address) {
                    found.push(address);
                }
            }
            match found.is_empty() {
                true => Err(io::ErrorKind::NotFound.into()),
                false => Ok(found.into_iter().map(Some).collect()),
            }
        }
        _ => Ok(vec![None]),
    }
}

/// The socket's file, if the endpoint is a Unix socket.
pub(crate) fn unix_socket(endpoint: &Endpoint) -> Option<PathBuf> {
    match endpoint.hosts.as_slice() {
        [Host::Unix { dir, port }] => Some(dir.join(format!(".s.PGSQL.{port}"))),
        _ => None,
    }
}

/// Whether a name has only IPv6 addresses.
pub(crate) fn has_ipv6_alone(endpoint: &Endpoint, addresses: &[Option<SocketAddr>]) -> bool {
    let by_name = matches!(
        endpoint.hosts.as_slice(),
        [Host::Tcp { name, addr: None, .. }] if !name.contains(':')
    );
    let is_ipv6 = |address: &Option<SocketAddr>| address.is_some_and(|at| at.is_ipv6());
    by_name && addresses.iter().all(is_ipv6)
}

/// How the attempts at several addresses or hosts have failed.
#[derive(Debug, Default)]
pub(crate) struct Failures(Option<ConnectError>);

impl Failures {
    /// Keeps the more telling failure, in whichever order they come: an answer of a server says
    /// more than a refused socket.
    pub(crate) fn add(&mut self, failure: ConnectError) {
        let answered = |error: &ConnectError| error.sqlstate().is_some();
        if !self.0.as_ref().is_some_and(answered) || answered(&failure) {
            self.0 = Some(failure);
        }
    }

    pub(crate) fn most_telling(self, address: &str) -> ConnectError {
        self.0
            .unwrap_or_else(|| ConnectError::new(address, ConnectFailure::Unreachable))
    }
}

#[cfg(test)]
mod tests {
    use db_wire::ServerError;

    use super::*;

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_address_that_answered_is_tried_first() {
        let memory = HostMemory::default();
        let [one, two, three] = ["10.0.0.1:5432", "10.0.0.2:5432", "[::1]:5432"].map(address);
        let mut order = [one, two, three];
        memory.put_best_first(&mut order);
        assert_eq!(order, [one, two, three]);
        memory.answered(three);
        memory.put_best_first(&mut order);
        assert_eq!(order, [three, one, two]);
    }

    /// "Connection refused" from the last address does not hide the answer of a server.
    #[test]
    fn a_servers_word_is_told_before_a_refused_socket() {
        let refused = || ConnectError::new("b", ConnectFailure::Unreachable);
        let said = ServerError::for_tests("FATAL 57P03 the database system is starting up");
        let starting = ConnectError::new("a", ConnectFailure::Unavailable).because(&said);
        let mut failures = Failures::default();
        for failure in [refused(), starting, refused()] {
            failures.add(failure);
        }
        assert_eq!(
            failures.most_telling("c").failure(),
            ConnectFailure::Unavailable
        );
        assert_eq!(
            Failures::default().most_telling("c").failure(),
            ConnectFailure::Unreachable
        );
    }

    #[test]
    fn only_a_name_can_have_ipv6_alone() {
        let of = |url: &str| Endpoint::from(db_config::PooledUrl::parse(url).unwrap());
        let name = of("postgres://u:p@db.example.com/d");
        assert!(has_ipv6_alone(&name, &[address("[2001:db8::1]:5432")]));
        let both = [address("[2001:db8::1]:5432"), address("10.0.0.1:5432")];
        assert!(!has_ipv6_alone(&name, &both));
        let literal = of("postgres://u:p@[2001:db8::1]/d");
        assert!(!has_ipv6_alone(&literal, &[address("[2001:db8::1]:5432")]));
        assert!(!has_ipv6_alone(&name, &[None]));
    }
}
