//! The certificates of an endpoint, as they were read last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use db_config::Endpoint;

use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::connect::connector::Connector;
use crate::connect::stage::ConnectStage;
use crate::connect::tls;

/// The certificates of an endpoint, as they were read last.
pub(crate) struct Certificates {
    connector: Mutex<Result<Connector, ConnectError>>,
    /// Others may be there by now: a handshake has failed with these.
    are_doubtful: AtomicBool,
}

impl Certificates {
    /// Reads them, and keeps what is wrong with them for the first attempt to connect.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self {
            connector: Mutex::new(read(endpoint)),
            are_doubtful: AtomicBool::new(false),
        }
    }

    /// Reads them anew; what was read before stays where that fails.
    pub(crate) fn read_again(&self, endpoint: &Endpoint) {
        if let Ok(connector) = read(endpoint) {
            *self
                .connector
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Ok(connector);
        }
    }

    /// Has them read anew before the next attempt, where this one has failed in its handshake.
    pub(crate) fn doubt(&self, error: &ConnectError) {
        if error.failure() == ConnectFailure::Tls {
            self.are_doubtful.store(true, Ordering::Relaxed);
        }
    }

    /// What an attempt connects with.
    pub(crate) fn connector(&self, endpoint: &Endpoint) -> Result<Connector, ConnectError> {
        if self.are_doubtful.swap(false, Ordering::Relaxed) {
            self.read_again(endpoint);
        }
        let connector = self
            .connector
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        connector.clone()
    }
}

fn read(endpoint: &Endpoint) -> Result<Connector, ConnectError> {
    let tls = tls::prepare(&endpoint.tls, &endpoint.address());
    let connector = tls.map(Connector::new);
    connector.map_err(|error| error.at(ConnectStage::Tls))
}
