//! The profile of a pool: how many connections it has, how long they live, and how it sets up their sessions.

mod setters;

use std::sync::Arc;
use std::time::Duration;

use db_config::{Config, ConfigError, Environment};
use serde::Deserialize;

/// How a pool behaves.
///
/// It comes from the built-in table of an environment ([`PoolProfile::of`]) or from the configuration
/// ([`PoolProfile::from_config`]). The fields are public, for a service that computes one of them. `config/README.md`
/// says what goes wrong when a value is too high or too low.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct PoolProfile {
    /// The pool's name in logs and errors.
    #[serde(skip, default = "unnamed")]
    pub name: Arc<str>,
    /// Which URL the pool connects with.
    pub via: Via,
    /// The maximum of live connections; a connection that is being closed counts.
    pub max: u32,
    /// The largest `max` that [`Pool::resize`](crate::Pool::resize) may set. If code sets a higher `max`, that is the
    /// ceiling.
    pub ceiling: u32,
    /// How many idle connections the pool keeps ready.
    pub min_idle: u32,
    /// How many connections may be idle. The pool closes further ones when they come back; `None` is any number.
    #[serde(deserialize_with = "count_or_unlimited")]
    pub max_idle: Option<u32>,
    /// Whether the size follows the load, if something adapts it (db-observe's `Operations`).
    pub sizing: Sizing,
    /// How many connections may be asked for in a second; `None` is any number.
    #[serde(deserialize_with = "count_or_unlimited")]
    pub rate_limit: Option<u32>,
    /// How many callers may wait for a connection. The pool refuses the next one at once; `None` is any number.
    #[serde(deserialize_with = "count_or_unlimited")]
    pub max_waiting: Option<u32>,
    /// How long a caller waits for a connection, connecting included.
    #[serde(with = "db_config::duration")]
    pub checkout_timeout: Duration,
    /// How long one attempt to connect may take, from name resolution to the last setting.
    #[serde(with = "db_config::duration")]
    pub connect_timeout: Duration,
    /// After how long an idle connection beyond `min_idle` is closed; `None` is never.
    #[serde(with = "db_config::duration::optional")]
    pub idle_timeout: Option<Duration>,
    /// After how long a connection is replaced; up to a quarter is taken off at random. `None` is never.
    #[serde(with = "db_config::duration::optional")]
    pub max_lifetime: Option<Duration>,
    /// After how many checkouts a connection is replaced; up to a quarter is taken off at random. 0 is never.
    pub max_uses: u32,
    /// How long a connection may have been idle and still be handed out without a ping.
    #[serde(with = "db_config::duration")]
    pub validate_after: Duration,
    /// How long that ping may take.
    #[serde(with = "db_config::duration")]
    pub validation_timeout: Duration,
    /// How long the server may be silent on a statement without a `statement_timeout` before the pool closes the
    /// connection; `None` is for ever. For a statement with a `statement_timeout`, the bound is that time plus at
    /// most five seconds.
    #[serde(with = "db_config::duration::optional")]
    pub answer_timeout: Option<Duration>,
    /// After how long the pool reports a hold of a connection as too long; `None` reports none.
    #[serde(with = "db_config::duration::optional")]
    pub leak_threshold: Option<Duration>,
    /// What stands between this pool and the server.
    pub pooler: PoolerMode,
    /// Whether the wire rewrites statements at all.
    pub wire: WireMode,
    /// How statements are named on the server.
    pub statements: Statements,
    /// How many texts each connection keeps prepared; at 0 only diesel's own cache keeps some.
    pub statement_cache: u32,
    /// Whether BEGIN travels with the first statement of its transaction.
    #[serde(deserialize_with = "on_or_off")]
    pub defer_begin: bool,
    /// When a session is reset on the return of its connection.
    pub reset: Reset,
    /// The idle time before the first TCP keepalive probe, unless the URL sets it; zero keeps the system's default.
    #[serde(with = "db_config::duration")]
    pub keepalive_idle: Duration,
    /// How long sent data may stay unacknowledged before the kernel gives up the connection, unless the URL sets it;
    /// zero keeps the system's default.
    #[serde(with = "db_config::duration")]
    pub tcp_user_timeout: Duration,
    /// The session's `statement_timeout`; `None` keeps the server's default.
    #[serde(default, with = "db_config::duration::optional")]
    pub statement_timeout: Option<Duration>,
    /// The session's `lock_timeout`; `None` keeps the server's default.
    #[serde(default, with = "db_config::duration::optional")]
    pub lock_timeout: Option<Duration>,
    /// The session's `idle_in_transaction_session_timeout`; `None` keeps the server's default.
    #[serde(default, with = "db_config::duration::optional")]
    pub idle_in_transaction_session_timeout: Option<Duration>,
    /// The name shown in `pg_stat_activity`, unless the URL has one.
    pub application_name: String,
    /// The session's `search_path`, unless the URL has one.
    #[serde(default)]
    pub search_path: Option<String>,
    /// The role whose rights the sessions have; if unset, the user's own rights.
    #[serde(default)]
    pub role: Option<String>,
    /// The session's `default_transaction_isolation`.
    pub default_transaction_isolation: String,
    /// Whether transactions are READ ONLY unless they say otherwise: the session's `default_transaction_read_only`.
    #[serde(deserialize_with = "on_or_off")]
    pub read_only: bool,
    /// The session's `TimeZone`.
    pub timezone: String,
    /// The session's `client_encoding`; diesel understands UTF8 only.
    pub client_encoding: String,
    /// Whether the pool counts statements by fingerprint.
    #[serde(deserialize_with = "on_or_off")]
    pub statement_statistics: bool,
    /// When and how often the pool tries again to connect.
    #[serde(skip)]
    pub reconnect: Reconnect,
    /// After which duration the pool logs a statement as slow; `None` logs none.
    #[serde(
        rename = "slow_query_threshold",
        default,
        with = "db_config::duration::optional"
    )]
    pub slow_query: Option<Duration>,
    /// Whether the slow-query log shows bound values. Only the configuration sets this, as it knows the environment
    /// and refuses the value outside dev and test.
    #[serde(skip)]
    pub(crate) slow_query_binds: bool,
}

/// Which URL a pool connects with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Via {
    /// `DATABASE_URL`, which may lead through a pooler.
    #[default]
    Pooled,
    /// `DATABASE_URL_DIRECT`: for LISTEN, session locks and administration.
    Direct,
}

/// What stands between a pool and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PoolerMode {
    /// The pool finds out by itself.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// A pooler that gives a client one server connection for as long as the client is connected.
    Session,
    /// A pooler that gives a client a server connection for one transaction.
    Transaction,
}

/// What the layer under diesel does with the statements of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum WireMode {
    /// The wire saves round trips, sends settings that the server lacks, and refuses statements that a shared session
    /// cannot support.
    #[default]
    Full,
    /// The wire passes on every statement as diesel sends it, and only observes.
    ///
    /// This saves no round trip. Behind a pooler that shares sessions, the wire neither refuses nor restores changes
    /// that other clients would see, statements keep diesel's names, and no setting travels with a transaction. So a
    /// pool cannot connect unless the server itself has the pool's `search_path`, `role` and isolation level, and the
    /// pool's `lock_timeout` and `idle_in_transaction_session_timeout` have no effect. Literals in a query that
    /// diesel keeps prepared keep the meaning that they had under the settings of the holder that prepared it.
    Observe,
}

/// What decides how large a pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Sizing {
    /// The configuration, and a service that calls [`Pool::resize`](crate::Pool::resize).
    #[default]
    Fixed,
    /// The load, within the pool's `ceiling`.
    Adaptive,
}

/// How statements are named on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Statements {
    /// By name if the server or a proven pooler keeps names; otherwise without names.
    #[default]
    Auto,
    /// By name.
    Named,
    /// Without names: the server parses each statement in the batch that runs it, which works through any pooler.
    Unnamed,
}

/// When a session is reset between two holders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Reset {
    /// When a statement may have changed it: a SET, a LISTEN, a function that is not built in.
    #[default]
    Auto,
    /// Each time.
    Always,
    /// Never: a holder finds the settings that earlier holders left.
    Never,
}

/// When the pool tries again to connect after a failure.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Reconnect {
    /// After how many failures in a row the breaker opens.
    pub attempts: u32,
    /// The delay after a failure while a caller waits. The keeper's own delay doubles with each failure in a row.
    #[serde(with = "db_config::duration")]
    pub base_delay: Duration,
    /// The longest delay of the keeper.
    #[serde(with = "db_config::duration")]
    pub max_delay: Duration,
}

impl Default for Reconnect {
    /// The built-in numbers.
    fn default() -> Self {
        Self {
            attempts: 10,
            base_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
        }
    }
}

#[derive(Deserialize)]
struct SlowQuery {
    #[serde(with = "db_config::duration::optional")]
    threshold: Option<Duration>,
    #[serde(deserialize_with = "on_or_off")]
    bind_values: bool,
}

impl PoolProfile {
    /// The built-in table of an environment, under the name `pool`.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "db-config's own test reads the built-in table of every environment as this type's keys"
    )]
    pub fn of(environment: &Environment) -> Self {
        let config = Config::builtin(environment);
        let profile = config.section("profile");
        Self::read(&config, profile, "pool").expect("the built-in tables are complete")
    }

    /// The profile of the pool `[database.pools.<pool>]`, where `[database.profile]` fills its gaps.
    ///
    /// # Errors
    ///
    /// The error names every value that cannot be read, with its key and origin.
    pub fn from_config(config: &Config, pool: &str) -> Result<Self, ConfigError> {
        let profile = config.section_over(&format!("pools.{pool}"), "profile");
        Self::read(config, profile, pool)
    }

    fn read(
        config: &Config,
        profile: Result<Self, ConfigError>,
        name: &str,
    ) -> Result<Self, ConfigError> {
        let slow: SlowQuery = config.section("slow_query")?;
        let profile = profile?;
        Ok(Self {
            name: name.into(),
            reconnect: config.section("reconnect")?,
            slow_query: profile.slow_query.or(slow.threshold),
            slow_query_binds: slow.bind_values,
            ..profile
        })
    }
}

fn on_or_off<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
    Ok(word == "on")
}

fn count_or_unlimited<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "unlimited" => Ok(None),
        count => count.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

fn unnamed() -> Arc<str> {
    "pool".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(environment: &Environment) -> (u32, u32) {
        let profile = PoolProfile::of(environment);
        (profile.min_idle, profile.max)
    }

    /// req 2.13, req 2.14, req 2.15, req 3.07, req 3.10, req 1.06
    #[test]
    fn the_built_in_tables_have_the_decided_numbers() {
        assert_eq!(sizes(&Environment::Dev), (2, 10));
        assert_eq!(sizes(&Environment::Test), (5, 20));
        assert_eq!(sizes(&Environment::Prod), (10, 50));
        assert_eq!(sizes(&Environment::Staging), (5, 15));
        assert_eq!(sizes(&Environment::HighLoad), (20, 100));
        assert_eq!(sizes(&Environment::Lambda), (0, 1));

        let dev = PoolProfile::of(&Environment::Dev);
        assert_eq!(dev.idle_timeout, Some(Duration::from_secs(30)));
        assert_eq!(dev.connect_timeout, Duration::from_secs(5));
        assert_eq!(dev.checkout_timeout, Duration::from_secs(5));
        assert_eq!(dev.max_uses, 7_500);
        let prod = PoolProfile::of(&Environment::Prod);
        assert_eq!(prod.idle_timeout, Some(Duration::from_secs(60)));
        assert_eq!(prod.connect_timeout, Duration::from_secs(10));
        assert_eq!(prod.checkout_timeout, Duration::from_secs(10));
        assert_eq!(prod.max_uses, 10_000);
        assert_eq!(prod.max_lifetime, Some(Duration::from_secs(300)));
        assert_eq!((dev.ceiling, dev.max_waiting), (100, None));
        assert_eq!((prod.ceiling, prod.max_waiting), (100, Some(1_000)));
    }

    /// req 2.07, req 2.08, req 2.17, req 2.18, req 2.21, req 2.35, req 3.32
    #[test]
    fn a_pools_own_table_wins_over_the_profile() {
        let vars = [
            ("APP_DB__PROFILE__MAX", "7"),
            ("APP_DB__PROFILE__MIN_IDLE", "1"),
            ("APP_DB__POOLS__BATCH__MAX", "3"),
            ("APP_DB__POOLS__BATCH__MAX_WAITING", "0"),
            ("APP_DB__POOLS__BATCH__SLOW_QUERY_THRESHOLD", "5s"),
        ];
        let vars = vars.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let config = Config::load_from(std::path::Path::new("/nonexistent"), vars).unwrap();
        let batch = PoolProfile::from_config(&config, "batch").unwrap();
        let write = PoolProfile::from_config(&config, "write").unwrap();
        assert_eq!((&*batch.name, batch.max, batch.min_idle), ("batch", 3, 1));
        assert_eq!((&*write.name, write.max), ("write", 7));
        assert_eq!((batch.max_waiting, write.max_waiting), (Some(0), None));
        assert_eq!(write.statement_timeout, Some(Duration::from_secs(30)));
        assert_eq!(write.keepalive_idle, Duration::from_secs(30));
        assert_eq!(write.slow_query, Some(Duration::from_millis(500)));
        assert_eq!(batch.slow_query, Some(Duration::from_secs(5)));
        assert!(write.statement_statistics);
        assert_eq!(write.reconnect.attempts, 10);
        assert_eq!(write.reconnect.base_delay, Duration::from_secs(1));
    }
}
