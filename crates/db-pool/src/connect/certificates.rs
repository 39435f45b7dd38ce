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
    /// Whether a handshake has failed with these. The files may have newer ones by now.
    are_doubtful: AtomicBool,
}

impl Certificates {
    /// Reads them, and keeps an error for the first attempt to connect.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self {
            connector: Mutex::new(read(endpoint)),
            are_doubtful: AtomicBool::new(false),
        }
    }

    /// Reads them again. If that fails, the present ones stay.
    pub(crate) fn read_again(&self, endpoint: &Endpoint) {
        if let Ok(connector) = read(endpoint) {
            *self
                .connector
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Ok(connector);
        }
    }

    /// If an attempt has failed in its handshake, has the next attempt read them again.
    pub(crate) fn doubt(&self, error: &ConnectError) {
        if error.failure() == ConnectFailure::Tls {
            self.are_doubtful.store(true, Ordering::Relaxed);
        }
    }

    /// The certificates for the next attempt.
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
