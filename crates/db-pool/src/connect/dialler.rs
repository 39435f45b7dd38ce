//! Dialling: from a generation of a pool to a ready connection, within one deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db_config::Endpoint;
use diesel::ConnectionError;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use tokio_postgres::Client;

use crate::connect::canceller::Canceller;
use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::connect::connector::Link;
use crate::connect::findings::{Findings, Found};
use crate::connect::inquiry;
use crate::connect::knock::knock;
use crate::connect::login::{Login, within};
use crate::connect::opened::Opened;
use crate::connect::phases::ConnectPhases;
use crate::connect::pooler::Pooler;
use crate::connect::rules;
use crate::connect::session_facts::SessionFacts;
use crate::connect::session_settings::SessionSettings;
use crate::connect::socket_bounds::SocketBounds;
use crate::connect::stage::{ConnectProgress, ConnectStage};
use crate::generation::Generation;
use crate::profile::{PoolProfile, WireMode};
use db_wire::LocalSettings;

/// Opens a connection outside any pool, for migrations and administration.
///
/// Only the URL's own settings apply. A separate task drives the connection, and ends when the client is dropped.
///
/// # Errors
///
/// [`ConnectError`], after `connect_timeout` at the latest.
///
/// Dropping the future closes the socket. Must be called within a tokio runtime.
pub async fn connect_client(
    endpoint: &Endpoint,
    connect_timeout: Duration,
) -> Result<Client, ConnectError> {
    let settings = SessionSettings::of_endpoint(endpoint, "app-db");
    let login = Login::new(endpoint, settings, SocketBounds::default());
    let progress = ConnectProgress::default();
    let opening = async {
        let client = match login.open(endpoint, connect_timeout, &progress).await?.0 {
            Opened::Tcp(client, connection, _addresses) => {
                tokio::spawn(connection);
                client
            }
            Opened::Unix(client, connection, _socket) => {
                tokio::spawn(connection);
                client
            }
        };
        let settings = login.settings().statements();
        // PgBouncer's console also refuses parameters, and accepts only its own statements.
        if login.lacks_settings() && !settings.is_empty() {
            progress.reach(ConnectStage::SetUp);
            let said = client.batch_execute(&settings).await;
            said.map_err(|error| ConnectError::from_postgres(&endpoint.address(), &error))?;
        }
        Ok(client)
    };
    within(connect_timeout, endpoint, &progress, opening).await
}

/// Opens the connections of one pool.
pub(crate) struct Dialler {
    login: Login,
    profile: PoolProfile,
    findings: Findings,
    /// How far the newest attempt has come.
    newest: Mutex<ConnectProgress>,
}

/// A connection that is ready for work.
pub(crate) struct Dialled {
    pub(crate) conn: AsyncPgConnection,
    pub(crate) link: Link,
    pub(crate) canceller: Canceller,
    pub(crate) phases: ConnectPhases,
}

impl Dialler {
    /// Reads certificates. If something is wrong with them, the first attempt to connect reports it.
    pub(crate) fn new(endpoint: &Endpoint, profile: &PoolProfile) -> Self {
        Self {
            login: login(endpoint, profile),
            profile: profile.clone(),
            findings: Findings::default(),
            newest: Mutex::default(),
        }
    }

    /// The pooler between the pool and its server, as far as the pool knows.
    pub(crate) fn pooler(&self) -> Pooler {
        self.findings
            .newest()
            .map_or(Pooler::Unknown, |found| found.pooler)
    }

    /// The server's facts about the first session of this generation, if there was one.
    pub(crate) fn facts(&self) -> Option<Arc<SessionFacts>> {
        self.findings.newest().map(|found| found.facts)
    }

    /// The settings that the pool sends because the server itself lacks them. Empty unless sessions are shared.
    pub(crate) fn assignments(&self) -> Vec<String> {
        let Some(found) = self.findings.newest() else {
            return Vec::new();
        };
        let shared = matches!(found.pooler, Pooler::Shared { .. });
        let local = shared.then(|| self.login.settings().local(&found.facts));
        let local = local.flatten();
        local.iter().flat_map(LocalSettings::assignments).collect()
    }

    /// The `statement_timeout` of the pool's sessions.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        self.login.settings().statement_timeout()
    }

    /// Connects, logs in and sets up the session, all within the connect timeout.
    pub(crate) async fn dial(&self, generation: &Generation) -> Result<Dialled, ConnectError> {
        self.dial_by(&self.login, generation).await
    }

    async fn dial_by(
        &self,
        login: &Login,
        generation: &Generation,
    ) -> Result<Dialled, ConnectError> {
        let progress = ConnectProgress::default();
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = progress.clone();
        within(
            self.profile.connect_timeout,
            &generation.endpoint,
            &progress,
            self.establish(login, generation, &progress),
        )
        .await
    }

    /// Opens a session without the parts that only diesel needs, within the connect timeout.
    pub(crate) async fn open(
        &self,
        generation: &Generation,
    ) -> Result<(Opened, Link), ConnectError> {
        let (endpoint, bound) = (&generation.endpoint, self.profile.connect_timeout);
        let progress = ConnectProgress::default();
        let opening = async {
            let (opened, connector) = self.login.open(endpoint, bound, &progress).await?;
            let link = connector.take_link().ok_or_else(|| {
                ConnectError::new(&endpoint.address(), ConnectFailure::Unreachable)
            })?;
            Ok((opened, link))
        };
        within(bound, endpoint, &progress, opening).await
    }

    /// Resolves as soon as the server gives any sign of life.
    pub(crate) async fn knock(&self, endpoint: &Endpoint) {
        knock(endpoint, self.login.answered_last()).await;
    }

    /// Logs in with freshly read certificates, and takes on the pool's role as its sessions will.
    pub(crate) async fn prove(&self, generation: &Generation) -> Result<Dialled, ConnectError> {
        let afresh = login(&generation.endpoint, &self.profile);
        let mut dialled = self.dial_by(&afresh, generation).await?;
        // On other sessions the startup packet has the role, and the server refuses a login without the right to it.
        let said_later = matches!(self.pooler(), Pooler::Shared { .. });
        let Some(role) = self.profile.role.as_deref().filter(|_| said_later) else {
            return Ok(dialled);
        };
        let role = role.replace('"', "\"\"");
        let taking = format!("BEGIN; SET LOCAL ROLE \"{role}\"; ROLLBACK");
        let address = generation.endpoint.address();
        let taking = async {
            let taken = dialled.conn.batch_execute(&taking).await;
            taken.map_err(|error| refused(&address, &dialled.link, &error))
        };
        let progress = ConnectProgress::default();
        let bound = self.profile.connect_timeout;
        within(bound, &generation.endpoint, &progress, taking).await?;
        Ok(dialled)
    }

    /// Logs in and asks for the cluster's identifier.
    pub(crate) async fn cluster(&self, generation: &Generation) -> Result<String, ConnectError> {
        let endpoint = &generation.endpoint;
        let mut dialled = (self.dial_by(&login(endpoint, &self.profile), generation)).await?;
        let asking = async {
            // Imported only here, as the trait would hide `first` of slices elsewhere.
            use diesel_async::RunQueryDsl;
            let identifier = diesel::dsl::sql::<Text>(CLUSTER).get_result(&mut dialled.conn);
            identifier.await.map_err(|error| {
                ConnectError::new(&endpoint.address(), ConnectFailure::Refused)
                    .explained(error.to_string())
            })
        };
        let progress = ConnectProgress::default();
        within(self.profile.connect_timeout, endpoint, &progress, asking).await
    }

    /// Reads the certificates again for new connections. If that fails, the present ones stay.
    pub(crate) fn read_certificates(&self, endpoint: &Endpoint) {
        self.login.read_certificates(endpoint);
    }

    /// How far the newest attempt has come.
    pub(crate) fn stage(&self) -> ConnectStage {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.stage()
    }

    async fn establish(
        &self,
        login: &Login,
        generation: &Generation,
        progress: &ConnectProgress,
    ) -> Result<Dialled, ConnectError> {
        let endpoint = &generation.endpoint;
        let bound = self.profile.connect_timeout;
        let (mut opened, connector) = login.open(endpoint, bound, progress).await?;
        progress.reach(ConnectStage::SetUp);
        let socket = opened.socket();
        let token = opened.cancel_token();
        let address = endpoint.address();
        let mut link = connector
            .take_link()
            .ok_or_else(|| ConnectError::new(&address, ConnectFailure::Unreachable))?;
        let found = self
            .find(&mut opened, &link, generation.number)
            .await
            .map_err(|error| ConnectError::from_postgres(&address, &error))?;
        if let Some(lacking) = self.lacking(&found) {
            return Err(ConnectError::new(&address, ConnectFailure::Settings).explained(lacking));
        }
        let adopted = match opened {
            Opened::Tcp(client, connection, _addresses) => {
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
            // The pool itself drives a connection over a Unix socket, because diesel-async takes over only TCP
            // connections. So such a connection has no stream of notifications.
            Opened::Unix(client, connection, _socket) => {
                let driver = tokio::spawn(connection);
                link.hand_back.ends(driver.abort_handle());
                AsyncPgConnection::try_from(client).await
            }
        };
        let mut conn = adopted.map_err(|error| match error {
            ConnectionError::CouldntSetupConfiguration(error) => refused(&address, &link, &error),
            error => refused(&address, &link, &error),
        })?;
        let set_up = self.set_up(&mut conn, &link, &found).await;
        set_up.map_err(|error| refused(&address, &link, &error))?;
        let phases = link.clock.phases(link.observed.logged_in());
        tracing::debug!(
            target: "app_db::pool",
            pool = &*self.profile.name,
            generation = generation.number,
            backend_pid = link.observed.backend_pid(),
            connect_ms = phases.total().as_millis() as u64,
            %phases,
            "connected"
        );
        Ok(Dialled {
            phases,
            conn,
            canceller: Canceller {
                token,
                connector,
                socket,
                address: address.into(),
            },
            link,
        })
    }

    /// Finds out, once for each generation, what is at the other end and which settings the server has. Logins that
    /// need it at the same time wait for the first one's answer.
    async fn find(
        &self,
        opened: &mut Opened,
        link: &Link,
        generation: u64,
    ) -> Result<Found, tokio_postgres::Error> {
        let known = || self.findings.of_generation(generation);
        if let Some(found) = known() {
            return Ok(found);
        }
        // A connection beside the pool proves nothing about the pool's generations, and waits for no login.
        let is_beside = generation == 0;
        let _turn = match is_beside {
            true => None,
            false => self.findings.turn().await,
        };
        if let Some(found) = known() {
            return Ok(found);
        }
        let (pooler, facts) = inquiry::inquire(opened, link, &self.profile).await?;
        let pooler = match pooler {
            // PostgreSQL itself refuses no parameter, so there is a proxy in front of it, with one session for each
            // client.
            Pooler::None if self.login.lacks_settings() => Pooler::Session,
            found => found,
        };
        let found = Found {
            generation,
            pooler,
            facts: facts.into(),
        };
        if !is_beside && self.findings.keep(&found) {
            tracing::info!(target: "app_db::pool", pool = &*self.profile.name, %pooler, "found before the server");
        }
        Ok(found)
    }

    /// Why shared sessions do not work for a pool that passes on every statement unchanged, if they do not.
    fn lacking(&self, found: &Found) -> Option<String> {
        let shared = matches!(found.pooler, Pooler::Shared { .. });
        if !shared || self.profile.wire == WireMode::Full {
            return None;
        }
        let lacking = self.login.settings().lacking(&found.facts);
        let first = lacking.first()?;
        Some(format!(
            "with wire = \"observe\" {} cannot be sent before each statement, and a transaction-mode pooler shares the \
             session; give the role the setting (ALTER ROLE .. SET {first} = ..), or use wire = \"full\" or a pool with \
             via = \"direct\"",
            lacking.join(", ")
        ))
    }

    /// Steers the wire according to what is at the other end.
    async fn set_up(
        &self,
        conn: &mut AsyncPgConnection,
        link: &Link,
        found: &Found,
    ) -> diesel::QueryResult<()> {
        let settings = self.login.settings();
        link.steering.set_rules(rules::of(
            found.pooler,
            &self.profile,
            settings,
            &found.facts,
        ));
        if found.pooler == Pooler::Session {
            // The client has the session for itself. This sets the settings that the pooler refused at login.
            conn.batch_execute(&settings.statements()).await?;
        }
        Ok(())
    }
}

/// The error for an open session whose set-up failed, with the server's message.
fn refused(address: &str, link: &Link, error: &dyn std::fmt::Display) -> ConnectError {
    let refused = ConnectError::new(address, ConnectFailure::Refused);
    match link.observed.last_error() {
        Some(sent) => refused.because(&sent),
        None => refused.explained(error.to_string()),
    }
}

/// The login at an endpoint, with its certificates as they are now.
fn login(endpoint: &Endpoint, profile: &PoolProfile) -> Login {
    let settings = SessionSettings::new(endpoint, profile);
    let unless_zero = |bound: Duration| Some(bound).filter(|bound| !bound.is_zero());
    let bounds = SocketBounds {
        keepalive_idle: unless_zero(profile.keepalive_idle),
        user_timeout: unless_zero(profile.tcp_user_timeout),
    };
    Login::new(endpoint, settings, bounds).for_diesel()
}

const CLUSTER: &str = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()";
