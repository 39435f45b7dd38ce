//! Connects to one endpoint and examines it.

use std::time::{Duration, Instant};

use app_db::db_config::{Host, TlsMode};
use app_db::db_pool::{
    ConnectFailure, Pooler, PoolerMode, Statements, WireMode, connect_client, plumbing,
};
use app_db::{Endpoint, Pool, PoolProfile};
use db_observe::PoolerFigures;
use serde::Serialize;

use crate::command_failure::chain;
use crate::doctor::configured_endpoint::{ConfiguredEndpoint, Role};
use crate::doctor::said_settings::SaidSettings;

/// What an endpoint looks like from here.
#[derive(Serialize)]
pub(super) struct Examined {
    pub(super) name: String,
    #[serde(skip)]
    pub(super) role: Role,
    pub(super) origin: String,
    pub(super) address: String,
    /// Whether something answered, even if it refused.
    pub(super) reachable: bool,
    pub(super) error: Option<String>,
    #[serde(skip)]
    pub(super) failure: Option<ConnectFailure>,
    connect_ms: Option<f64>,
    /// Whether the connection to the first peer is encrypted. Unknown if that depends on a pooler.
    tls: Option<bool>,
    server_version: Option<String>,
    pub(super) in_recovery: Option<bool>,
    /// `none`, `session`, `shared_names_kept` or `shared`.
    pooler: Option<&'static str>,
    #[serde(skip)]
    between: Pooler,
    /// The pooler that was found, whatever the configuration says.
    #[serde(skip)]
    pub(super) found: Pooler,
    /// How the first pool of this endpoint names its statements: `named` or `unnamed`.
    statements: Option<&'static str>,
    pub(super) pools: Vec<PoolReport>,
    /// The statements that give the first pool's settings to the server, if sessions are shared.
    pub(super) alter_role: Vec<String>,
    pub(super) max_connections: Option<i64>,
    /// How many of these are reserved for superusers and special roles.
    pub(super) reserved_connections: Option<i64>,
    pub(super) free_connections: Option<i64>,
    /// The server's own `idle_session_timeout`, if it has one.
    pub(super) idle_session_timeout_ms: Option<i64>,
    /// The session's own `statement_timeout`, if no pool sets one.
    pub(super) statement_timeout_ms: Option<i64>,
    /// The session's own `idle_in_transaction_session_timeout`, if no pool sets one.
    pub(super) idle_in_transaction_session_timeout_ms: Option<i64>,
    /// The server's own `transaction_timeout`, which PostgreSQL has since 17.
    pub(super) transaction_timeout_ms: Option<i64>,
    /// What PgBouncer says about itself.
    pub(super) pooler_figures: Option<PoolerFigures>,
    /// Why it says nothing.
    pooler_error: Option<String>,
    /// How many connections the pools of one instance may take here.
    pub(super) configured_max: i64,
    pub(super) url_hint: Option<String>,
    #[serde(skip)]
    pub(super) probable_direct: Option<String>,
    /// Equal for two endpoints that lead to the same server.
    #[serde(skip)]
    pub(super) server: Option<String>,
}

/// One pool of the configuration.
#[derive(Serialize)]
pub(super) struct PoolReport {
    pub(super) name: String,
    pub(super) max: u32,
    #[serde(skip)]
    pub(super) profile: PoolProfile,
    /// Which kind of pooler the pool assumes.
    #[serde(skip)]
    pub(super) in_force: Pooler,
    statements: &'static str,
    /// What it sends before its statements, if a pooler shares the sessions.
    says: Option<SaidSettings>,
}

/// Connects twice: once directly, for the time and the numbers of the server, and once like a pool, which
/// finds out whether a pooler is in between.
pub(super) async fn examine(configured: ConfiguredEndpoint) -> Examined {
    let mut examined = Examined::unseen(&configured);
    let bound = configured.profile.connect_timeout;
    let began = Instant::now();
    let client = match connect_client(&configured.endpoint, bound).await {
        Ok(client) => client,
        Err(error) => {
            let failure = error.failure();
            examined.reachable = !matches!(
                failure,
                ConnectFailure::Unreachable
                    | ConnectFailure::UnknownHost
                    | ConnectFailure::TimedOut
            );
            examined.failure = Some(failure);
            examined.error = Some(error.to_string());
            return examined;
        }
    };
    examined.reachable = true;
    // Rounded to a tenth.
    examined.connect_ms = Some((began.elapsed().as_secs_f64() * 10_000.0).round() / 10.0);

    let asking = async {
        // An unnamed statement, which every pooler answers correctly.
        let rows = client.query_typed(FACTS, &[]).await?;
        let row = rows.first().ok_or("the server answered without a row")?;
        examined.server_version = Some(row.try_get(0)?);
        examined.in_recovery = Some(row.try_get(1)?);
        let (max, reserved, used): (i64, i64, i64) =
            (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
        examined.max_connections = Some(max);
        examined.reserved_connections = Some(reserved);
        examined.free_connections = Some((max - reserved - used).max(0));
        examined.server = Some(row.try_get(6)?);
        examined.idle_session_timeout_ms = row.try_get(7)?;
        examined.statement_timeout_ms = row.try_get(8)?;
        examined.idle_in_transaction_session_timeout_ms = row.try_get(9)?;
        examined.transaction_timeout_ms = row.try_get(10)?;
        Ok::<Option<bool>, Box<dyn std::error::Error>>(row.try_get(5)?)
    };
    let servers_tls = match tokio::time::timeout(bound, asking).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => {
            examined.error = Some(chain(&*error));
            return examined;
        }
        Err(_elapsed) => {
            examined.error = Some(format!("no answer within {bound:?}"));
            // Behind PgBouncer the queue may hold the answer back.
            let figures = PoolerFigures::ask(&configured.endpoint, bound).await;
            examined.pooler_figures = figures.ok();
            return examined;
        }
    };
    drop(client);

    match find_pooler(&configured.endpoint, &configured.name, &configured.profile).await {
        Ok((found, _)) => examined.took(found, &configured),
        Err(error) => examined.error = Some(error),
    }
    if matches!(examined.between, Pooler::Shared { .. }) {
        examined.listen_to_pools(&configured).await;
    }
    if matches!(examined.found, Pooler::Shared { .. }) {
        match PoolerFigures::ask(&configured.endpoint, bound).await {
            Ok(figures) => examined.pooler_figures = Some(figures),
            Err(error) => examined.pooler_error = Some(error),
        }
    }
    examined.tls = match configured.endpoint.tls.mode {
        _ if is_unix(&configured.endpoint) => Some(false),
        TlsMode::Disable => Some(false),
        // The server describes the connection that reaches it. That is ours only if nothing is in between.
        TlsMode::Allow | TlsMode::Prefer => servers_tls.filter(|_| examined.found == Pooler::None),
        _ => Some(true),
    };
    examined
}

/// Finds out which pooler is in between, as a pool does if nothing is configured, and which settings the pool
/// sends there.
async fn find_pooler(
    endpoint: &Endpoint,
    name: &str,
    profile: &PoolProfile,
) -> Result<(Pooler, Vec<String>), String> {
    let mut profile = profile.clone();
    profile.name = name.into();
    (profile.max, profile.min_idle) = (1, 0);
    profile.checkout_timeout = profile.connect_timeout;
    profile.pooler = PoolerMode::Auto;
    profile.statements = Statements::Auto;
    // The pool only reports which settings are lacking. With `observe` it would not connect without them.
    profile.wire = WireMode::Full;
    let pool = Pool::connect_lazy(endpoint.clone(), profile);
    let connected = pool.get().await;
    let found = (pool.status().pooler, plumbing::assignments(&pool));
    let outcome = connected.map(drop);
    pool.close(GRACE).await;
    outcome.map(|()| found).map_err(|error| chain(&error))
}

impl Examined {
    fn unseen(configured: &ConfiguredEndpoint) -> Self {
        let pool = |profile: &PoolProfile| PoolReport {
            name: profile.name.to_string(),
            max: profile.max,
            profile: profile.clone(),
            in_force: Pooler::Unknown,
            statements: "unknown",
            says: None,
        };
        Self {
            name: configured.name.clone(),
            role: configured.role,
            origin: configured.origin.clone(),
            address: configured.endpoint.address(),
            reachable: false,
            error: None,
            failure: None,
            connect_ms: None,
            tls: None,
            server_version: None,
            in_recovery: None,
            pooler: None,
            between: Pooler::Unknown,
            found: Pooler::Unknown,
            statements: None,
            pools: configured.pools.iter().map(pool).collect(),
            alter_role: Vec::new(),
            max_connections: None,
            reserved_connections: None,
            free_connections: None,
            idle_session_timeout_ms: None,
            statement_timeout_ms: None,
            idle_in_transaction_session_timeout_ms: None,
            transaction_timeout_ms: None,
            pooler_figures: None,
            pooler_error: None,
            configured_max: configured
                .pools
                .iter()
                .map(|pool| i64::from(pool.max))
                .sum(),
            url_hint: configured.endpoint.pooler_hint.clone(),
            probable_direct: configured.endpoint.probable_direct(),
            server: None,
        }
    }

    fn took(&mut self, found: Pooler, configured: &ConfiguredEndpoint) {
        self.found = found;
        for pool in &mut self.pools {
            pool.in_force = in_force(found, pool.profile.pooler);
            pool.statements = naming(pool.in_force, pool.profile.statements);
        }
        // A client cannot see that a pooler is in session mode, so the configuration is believed.
        self.between = match (found, configured.profile.pooler) {
            (Pooler::Shared { .. }, PoolerMode::Session) => Pooler::Session,
            (found, _) => found,
        };
        self.pooler = match self.between {
            Pooler::None => Some("none"),
            Pooler::Session => Some("session"),
            Pooler::Pgpool => Some("pgpool"),
            Pooler::Shared { keeps_names: true } => Some("shared_names_kept"),
            Pooler::Shared { keeps_names: false } => Some("shared"),
            _ => None,
        };
        let profile = &configured.profile;
        self.statements = Some(naming(in_force(found, profile.pooler), profile.statements));
    }

    /// Finds out which settings each pool has to send, and what that costs.
    async fn listen_to_pools(&mut self, configured: &ConfiguredEndpoint) {
        for (pool, profile) in self.pools.iter_mut().zip(&configured.pools) {
            let found = find_pooler(&configured.endpoint, &pool.name, profile).await;
            let Ok((_, settings)) = found else { continue };
            let bound = profile.connect_timeout;
            let says = SaidSettings::measured(&configured.endpoint, settings, bound).await;
            pool.says = Some(says);
        }
        let mut wishes = self.pools.iter().filter_map(|pool| pool.says.as_ref());
        let first = wishes.next().map(|says| says.alter_role.clone());
        self.alter_role = first.unwrap_or_default();
        // The role can have a setting only once, so pools that want different values need theirs in each transaction.
        for others in wishes {
            self.alter_role
                .retain(|alter| others.alter_role.contains(alter));
        }
    }

    /// Names and values for people to read.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = Vec::new();
        if let Some(error) = &self.error {
            lines.push(("error", error.clone()));
        }
        if let Some(time) = self.connect_ms {
            let tls = match self.tls {
                Some(true) => "with TLS",
                Some(false) => "without TLS",
                None => "with TLS if the pooler offers it",
            };
            lines.push(("connected", format!("in {time:.1} ms, {tls}")));
        }
        if let (Some(version), Some(in_recovery)) = (&self.server_version, self.in_recovery) {
            let recovery = match in_recovery {
                true => "in recovery: a standby",
                false => "not in recovery: a primary",
            };
            lines.push(("server", format!("PostgreSQL {version}, {recovery}")));
        }
        if self.pooler.is_some() {
            lines.push(("between", self.between.to_string()));
        }
        if let Some(figures) = &self.pooler_figures {
            lines.push(("PgBouncer", figures.to_string()));
        }
        if let Some(error) = &self.pooler_error {
            let needs = "it answers a user that stats_users and auth_file name";
            let figures = format!("gives no figures: {error} ({needs})");
            lines.push(("its console", figures));
        }
        if let Some(statements) = self.statements {
            let how = match statements {
                "named" => "named, and prepared once on each connection",
                _ => "unnamed, and parsed in the batch that runs them",
            };
            lines.push(("statements", how.to_owned()));
        }
        if !self.pools.is_empty() {
            let pools = self.pools.iter();
            let pools = pools.map(|pool| format!("{} (max {})", pool.name, pool.max));
            lines.push(("pools", pools.collect::<Vec<_>>().join(", ")));
        }
        for pool in &self.pools {
            if let Some(says) = &pool.says {
                lines.push(("says", format!("pool {}: {}", pool.name, says.line())));
            }
        }
        if let (Some(max), Some(reserved), Some(free)) = (
            self.max_connections,
            self.reserved_connections,
            self.free_connections,
        ) {
            let mut connections = format!(
                "{} for clients ({max}, less {reserved} reserved ones), {free} of them free",
                max - reserved
            );
            if self.configured_max > 0 {
                let wanted = format!("; these pools take up to {}", self.configured_max);
                connections.push_str(&wanted);
            }
            lines.push(("connections", connections));
        }
        if let Some(hint) = &self.url_hint {
            lines.push(("in the URL", format!("{hint} suggests a pooler")));
        }
        lines
    }
}

/// Which kind of pooler a pool assumes.
fn in_force(found: Pooler, mode: PoolerMode) -> Pooler {
    match mode {
        PoolerMode::None => Pooler::None,
        PoolerMode::Session => Pooler::Session,
        PoolerMode::Transaction => Pooler::Shared {
            keeps_names: found == Pooler::Shared { keeps_names: true },
        },
        _ => found,
    }
}

fn naming(pooler: Pooler, statements: Statements) -> &'static str {
    match (statements, pooler) {
        (Statements::Named, _) => "named",
        (Statements::Unnamed, _) | (_, Pooler::Shared { keeps_names: false }) => "unnamed",
        _ => "named",
    }
}

fn is_unix(endpoint: &Endpoint) -> bool {
    let mut hosts = endpoint.hosts.iter();
    hosts.all(|host| matches!(host, Host::Unix { .. }))
}

/// Version, recovery, limits, the sessions of other clients, TLS, and an identity of the server. Every role
/// may read these columns, also for the sessions of other roles.
const FACTS: &str = "
SELECT split_part(current_setting('server_version'), ' ', 1),
       pg_is_in_recovery(),
       current_setting('max_connections')::int8,
       current_setting('superuser_reserved_connections')::int8
           + coalesce(current_setting('reserved_connections', true)::int8, 0),
       (SELECT count(*)
        FROM pg_stat_activity
        WHERE datid IS NOT NULL AND usesysid IS NOT NULL AND pid <> pg_backend_pid()),
       (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()),
       pg_postmaster_start_time()::text,
       (SELECT nullif(setting::int8, 0) FROM pg_settings WHERE name = 'idle_session_timeout'),
       (SELECT nullif(setting::int8, 0) FROM pg_settings WHERE name = 'statement_timeout'),
       (SELECT nullif(setting::int8, 0) FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'),
       (SELECT nullif(setting::int8, 0) FROM pg_settings WHERE name = 'transaction_timeout')";

/// The connection is idle: the server only has to hang up.
const GRACE: Duration = Duration::from_secs(1);
