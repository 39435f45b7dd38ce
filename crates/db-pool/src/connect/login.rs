//! Login: from an endpoint to an open session, host by host.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use db_config::{Endpoint, TargetSessionAttrs, TlsMode};
use tokio::time::{Instant, timeout};
use tokio_postgres::NoTls;

use crate::connect::addresses::{Failures, HostMemory, has_ipv6_alone, resolve, unix_socket};
use crate::connect::certificates::Certificates;
use crate::connect::connect_error::{ConnectError, ConnectFailure, may_refuse_parameters};
use crate::connect::connector::{Connector, Negotiation, Transport, UnixStream};
use crate::connect::driver_config::driver_config;
use crate::connect::opened::{Opened, admit};
use crate::connect::phases::Clock;
use crate::connect::session_settings::SessionSettings;
use crate::connect::socket_bounds::SocketBounds;
use crate::connect::stage::{ConnectProgress, ConnectStage};
use crate::connect::startup_packet::{Accepted, StartupPacket};
use crate::deadline::deadline;

/// An endpoint, and what the pool knows about logins there.
pub(crate) struct Login {
    certificates: Certificates,
    settings: SessionSettings,
    /// The settings for a login whose startup packet can carry none.
    unannounced: SessionSettings,
    bounds: SocketBounds,
    /// Whether diesel-async takes the connections over.
    for_diesel: bool,
    /// How much of the startup packet was accepted last. The next login begins with that.
    accepted: Accepted,
    /// The index of the host that answered last.
    answered_last: AtomicUsize,
    /// What is known about each host, by its index.
    hosts: Box<[HostMemory]>,
}

/// The addresses of a host, and when they were resolved.
struct Resolved {
    addresses: Vec<Option<SocketAddr>>,
    clock: Clock,
}

pub(crate) async fn within<T>(
    bound: Duration,
    endpoint: &Endpoint,
    progress: &ConnectProgress,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let outcome = timeout(bound, connecting).await.unwrap_or_else(|_elapsed| {
        Err(
            ConnectError::new(&endpoint.address(), ConnectFailure::TimedOut)
                .explained(format!("{bound:.1?} have passed")),
        )
    });
    outcome.map_err(|error| error.at(progress.stage()))
}

impl Login {
    /// Reads certificates, and keeps an error for the first attempt to connect.
    pub(crate) fn new(
        endpoint: &Endpoint,
        settings: SessionSettings,
        bounds: SocketBounds,
    ) -> Self {
        Self {
            certificates: Certificates::new(endpoint),
            unannounced: settings.unannounced(),
            settings,
            bounds,
            for_diesel: false,
            accepted: Accepted::default(),
            answered_last: AtomicUsize::new(0),
            hosts: endpoint
                .hosts
                .iter()
                .map(|_| HostMemory::default())
                .collect(),
        }
    }

    /// Prepares logins for connections that diesel-async takes over.
    pub(crate) fn for_diesel(mut self) -> Self {
        self.for_diesel = true;
        self
    }

    /// Reads the certificates again. If that fails, the present ones stay.
    pub(crate) fn read_certificates(&self, endpoint: &Endpoint) {
        self.certificates.read_again(endpoint);
    }

    /// The certificates for one attempt.
    fn connector(
        &self,
        endpoint: &Endpoint,
        progress: ConnectProgress,
    ) -> Result<Connector, ConnectError> {
        let connector = self.certificates.connector(endpoint)?.afresh(progress);
        Ok(match self.for_diesel {
            true => connector.for_diesel(self.settings.startup.clone()),
            false => connector,
        })
    }

    /// The settings that each session must have. They depend on what the startup packet of the last login could
    /// carry.
    pub(crate) fn settings(&self) -> &SessionSettings {
        match self.accepted.last() {
            StartupPacket::Bare => &self.unannounced,
            StartupPacket::Whole | StartupPacket::WithoutOptions => &self.settings,
        }
    }

    /// Whether the other end refuses startup parameters, so that a new session lacks settings of the pool.
    pub(crate) fn lacks_settings(&self) -> bool {
        self.accepted.last() != StartupPacket::Whole
    }

    /// The index of the host that answered last.
    pub(crate) fn answered_last(&self) -> usize {
        self.answered_last.load(Ordering::Relaxed)
    }

    /// Opens the session on the first suitable host, beginning with the one that worked last.
    ///
    /// Each host gets its share of the remaining time, or the URL's own `connect_timeout`. A host that accepts
    /// and stays silent must not use up the time of the others.
    pub(crate) async fn open(
        &self,
        endpoint: &Endpoint,
        bound: Duration,
        progress: &ConnectProgress,
    ) -> Result<(Opened, Connector), ConnectError> {
        let deadline = deadline(Instant::now(), bound);
        let mut order: Vec<usize> = (0..endpoint.hosts.len()).collect();
        if endpoint.load_balance_hosts {
            fastrand::shuffle(&mut order);
        } else {
            let preferred = self.answered_last.load(Ordering::Relaxed);
            order.sort_by_key(|index| *index != preferred);
        }
        let wanted: &[_] = match endpoint.target_session_attrs {
            TargetSessionAttrs::PreferStandby => {
                &[TargetSessionAttrs::Standby, TargetSessionAttrs::Any]
            }
            ref one => std::slice::from_ref(one),
        };
        let order: Vec<_> = wanted
            .iter()
            .flat_map(|attrs| order.iter().map(move |index| (*attrs, index)))
            .collect();
        let mut failures = Failures::default();
        for (tried, (attrs, index)) in order.iter().enumerate() {
            let mut single = endpoint.clone();
            single.hosts = vec![endpoint.hosts[**index].clone()];
            single.target_session_attrs = *attrs;
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (order.len() - tried) as u32;
            let share = endpoint.connect_timeout.map_or(share, |own| own.min(left));
            let opening = self.open_on(&single, &self.hosts[**index], share, progress);
            let outcome = within(share, &single, progress, opening).await;
            match outcome.inspect_err(|error| self.certificates.doubt(error)) {
                Ok(opened) => {
                    self.answered_last.store(**index, Ordering::Relaxed);
                    return Ok(opened);
                }
                // As with libpq, a refused login is final, whichever host refused it.
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) => failures.add(error),
            }
        }
        Err(failures.most_telling(&endpoint.address()))
    }

    /// Opens the session at the first suitable address of one host, beginning with the one that worked last.
    ///
    /// Each address gets its share of the host's time. An address that swallows packets must not use up the
    /// time of the others.
    async fn open_on(
        &self,
        endpoint: &Endpoint,
        memory: &HostMemory,
        share: Duration,
        progress: &ConnectProgress,
    ) -> Result<(Opened, Connector), ConnectError> {
        let deadline = deadline(Instant::now(), share);
        let mut clock = Clock::start();
        progress.reach(ConnectStage::Name);
        let addresses = resolve(endpoint)
            .await
            .map_err(|error| ConnectError::unresolved(&endpoint.address(), &error))?;
        clock.resolved = std::time::Instant::now();
        let resolved = Resolved { addresses, clock };
        self.open_among(endpoint, memory, resolved, deadline, progress)
            .await
    }

    async fn open_among(
        &self,
        endpoint: &Endpoint,
        memory: &HostMemory,
        resolved: Resolved,
        deadline: Instant,
        progress: &ConnectProgress,
    ) -> Result<(Opened, Connector), ConnectError> {
        let Resolved {
            mut addresses,
            clock,
        } = resolved;
        memory.put_best_first(&mut addresses);
        let mut failures = Failures::default();
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let part = left / (addresses.len() - tried) as u32;
            // Boxed, because its future is large and each caller would have it on its stack.
            let opening = Box::pin(self.open_at(endpoint, memory, *address, clock, progress));
            match within(part, endpoint, progress, opening).await {
                Ok(opened) => {
                    memory.answered(*address);
                    return Ok(opened);
                }
                Err(error) if error.is_permanent() => return Err(error),
                Err(error) => failures.add(error),
            }
        }
        let failure = failures.most_telling(&endpoint.address());
        Err(match has_ipv6_alone(endpoint, &addresses) {
            true => failure.with_ipv6_alone(),
            false => failure,
        })
    }

    /// Opens the session at one address. If the other end refuses the startup packet, it tries again with a
    /// smaller one. If the pool was wrong about the server's TLS, it tries again the other way.
    async fn open_at(
        &self,
        endpoint: &Endpoint,
        memory: &HostMemory,
        at: Option<SocketAddr>,
        clock: Clock,
        progress: &ConnectProgress,
    ) -> Result<(Opened, Connector), ConnectError> {
        let mut connector = self.connector(endpoint, progress.clone())?;
        connector.resolved(clock);
        let address = endpoint.address();
        let leaves_tls_open = matches!(endpoint.tls.mode, TlsMode::Prefer | TlsMode::Allow);
        if leaves_tls_open && !memory.speaks_tls.load(Ordering::Relaxed) {
            connector.negotiated(Negotiation::Open);
        }
        let mut changes_its_mind = leaves_tls_open;
        let mut packet = self.accepted.last();
        loop {
            let outcome = self.attempt(endpoint, at, &connector, packet).await;
            let another = match (connector.negotiation(), &outcome) {
                // Without a stream of the connector there is no wire, as the server no longer has TLS.
                (Negotiation::Handshake, Ok(opened)) if !opened.has_wire(&connector) => {
                    Some(Negotiation::Open)
                }
                (Negotiation::Open, Err(_)) if connector.has_met_tls() => {
                    Some(Negotiation::Handshake)
                }
                _ => None,
            };
            if let Some(another) = another
                && std::mem::take(&mut changes_its_mind)
            {
                let speaks_tls = another == Negotiation::Handshake;
                memory.speaks_tls.store(speaks_tls, Ordering::Relaxed);
                connector.negotiated(another);
                continue;
            }
            let mut opened = match outcome {
                Ok(opened) => opened,
                Err(error) => match packet.after_refusal() {
                    Some(less) if may_refuse_parameters(&error) => {
                        packet = less;
                        continue;
                    }
                    _ => return Err(ConnectError::from_postgres(&address, &error)),
                },
            };
            self.accepted.note(packet, &address);
            if connector.negotiation() == Negotiation::Open {
                // Cancel requests use the same negotiation.
                connector.negotiated(Negotiation::Plain);
            }
            admit(&mut opened, endpoint).await?;
            return Ok((opened, connector));
        }
    }

    async fn attempt(
        &self,
        endpoint: &Endpoint,
        at: Option<SocketAddr>,
        connector: &Connector,
        packet: StartupPacket,
    ) -> Result<Opened, tokio_postgres::Error> {
        let mut config = driver_config(endpoint, at, connector.negotiation(), self.bounds);
        // An earlier attempt's link says nothing about this one.
        drop(connector.take_link());
        let mut connector = connector.clone();
        match packet {
            StartupPacket::Whole => {
                config.options(self.settings.options());
                config.application_name(&self.settings.application_name);
            }
            StartupPacket::WithoutOptions => {
                config.application_name(&self.settings.application_name);
            }
            StartupPacket::Bare => connector.announces_nothing(),
        }
        let Some(socket) = unix_socket(endpoint) else {
            let (client, connection) = config.connect(connector).await?;
            return Ok(Opened::Tcp(client, connection, at.into_iter().collect()));
        };
        // The constructors of tokio-postgres' error are private. For a socket that does not exist, the error
        // comes from letting tokio-postgres connect there.
        let Ok(stream) = UnixStream::connect(&socket).await else {
            let mut config = config;
            config.host_path(socket.parent().unwrap_or(Path::new("/")));
            config.port(endpoint.hosts[0].port());
            let (client, connection) = config.connect(connector).await?;
            return Ok(Opened::Tcp(client, connection, at.into_iter().collect()));
        };
        let wire = connector.observe(Transport::Unix(stream));
        let (client, connection) = config.connect_raw(wire, NoTls).await?;
        Ok(Opened::Unix(client, connection, socket))
    }
}

#[cfg(test)]
mod tests;
