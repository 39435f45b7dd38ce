//! The settings of every session of a pool, and how they are sent to the server.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use db_config::Endpoint;

use crate::connect::pooler::Pooler;
use crate::connect::session_facts::SessionFacts;
use crate::profile::{PoolProfile, Reset};
use db_wire::{LocalSettings, literal};

/// The server settings of a pool's sessions, in the order in which they are sent.
///
/// They travel in the startup packet, so that `RESET ALL` returns to them.
#[derive(Clone, Debug)]
pub(crate) struct SessionSettings {
    pub(crate) application_name: String,
    /// The settings that poolers keep for each client, and that can travel as they are.
    pub(crate) startup: Vec<(String, String)>,
    settings: Vec<(String, String)>,
}

impl SessionSettings {
    /// The profile's settings. The URL's own settings win.
    pub(crate) fn new(endpoint: &Endpoint, profile: &PoolProfile) -> Self {
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: String| settings.push((name.to_owned(), value));
        for (name, timeout) in [
            ("statement_timeout", profile.statement_timeout),
            ("lock_timeout", profile.lock_timeout),
            (
                "idle_in_transaction_session_timeout",
                profile.idle_in_transaction_session_timeout,
            ),
        ] {
            if let Some(timeout) = timeout {
                set(name, format!("{}ms", timeout.as_millis()));
            }
        }
        if let Some(search_path) = &profile.search_path {
            set("search_path", search_path.clone());
        }
        if let Some(role) = &profile.role {
            set("role", role.clone());
        }
        set(
            "default_transaction_isolation",
            profile.default_transaction_isolation.clone(),
        );
        if profile.read_only {
            set("default_transaction_read_only", "on".to_owned());
        }
        set("TimeZone", profile.timezone.clone());
        for (name, value) in &endpoint.settings {
            settings.retain(|(ours, _)| !ours.eq_ignore_ascii_case(name));
            settings.push((name.clone(), value.clone()));
        }
        // tokio-postgres sends client_encoding itself and decodes only UTF8.
        settings.retain(|(name, _)| !name.eq_ignore_ascii_case("client_encoding"));
        let startup = settings
            .extract_if(.., |(name, _)| is_tracked(name))
            .collect();
        Self {
            startup,
            application_name: endpoint
                .application_name
                .clone()
                .unwrap_or_else(|| profile.application_name.clone()),
            settings,
        }
    }

    /// Settings with only a name, for connections outside a pool.
    pub(crate) fn of_endpoint(endpoint: &Endpoint, application_name: &str) -> Self {
        Self {
            application_name: endpoint
                .application_name
                .clone()
                .unwrap_or_else(|| application_name.to_owned()),
            startup: Vec::new(),
            settings: endpoint.settings.clone().into_iter().collect(),
        }
    }

    /// The same settings for sessions whose startup packet could carry none of them.
    ///
    /// The `application_name` stays out: nothing depends on it.
    pub(crate) fn unannounced(&self) -> Self {
        Self {
            application_name: self.application_name.clone(),
            startup: Vec::new(),
            settings: [self.settings.as_slice(), &self.startup].concat(),
        }
    }

    /// The `options` of the startup packet.
    ///
    /// The server splits them at blanks, and a backslash escapes the next character (`pg_split_opts` in
    /// utils/init/postinit.c).
    pub(crate) fn options(&self) -> String {
        let mut options = String::new();
        for (name, value) in &self.settings {
            if !options.is_empty() {
                options.push(' ');
            }
            options.push_str("-c ");
            for char in name.chars().chain("=".chars()).chain(value.chars()) {
                // The server's `isspace()` includes the vertical tab, and Rust's does not.
                if char.is_ascii_whitespace() || matches!(char, '\x0b' | '\\') {
                    options.push('\\');
                }
                options.push(char);
            }
        }
        options
    }

    /// The `options` as one batch of SQL, for a pooler that refuses them.
    ///
    /// `set_config` takes the value as one literal, as the server does from the packet. `SET` would not accept a
    /// `search_path` of several schemas in that form.
    pub(crate) fn statements(&self) -> String {
        batch(&self.settings)
    }

    /// All settings of the session as one batch of SQL, for a pooler where `RESET ALL` returns to the pooler's own
    /// settings.
    pub(crate) fn all_statements(&self) -> String {
        let named = [
            ("application_name", &*self.application_name),
            ("client_encoding", "UTF8"),
        ];
        let named = named.map(|(name, value)| (name.to_owned(), value.to_owned()));
        batch(&named) + &batch(&self.startup) + &self.statements()
    }

    /// The text that resets a session. `None` if there is nothing to reset, or if the pool shares its sessions.
    pub(crate) fn reset_text(&self, policy: Reset, pooler: Pooler) -> Option<Arc<str>> {
        let settings = match (policy, pooler) {
            (Reset::Never, _) => return None,
            (_, Pooler::None) => String::new(),
            (_, Pooler::Session) => self.all_statements(),
            // The pool must not reset the state of a shared session, and could not even reach it.
            _ => return None,
        };
        // One batch is one transaction: either all of it is done, or the connection is discarded. The settings come
        // first, because names must be looked up with them. RESET ROLE returns to the role of the startup packet.
        Some(format!("{IDENTITY}{settings}{BELONGINGS}{PREPARED}").into())
    }

    /// The settings to send in the transactions of a shared session: those for which the session may have other
    /// values.
    pub(crate) fn local(&self, facts: &SessionFacts) -> Option<LocalSettings> {
        let mut settings = self.settings.clone();
        settings.retain(|(name, value)| facts.differs(name, value));
        LocalSettings::new(&settings)
    }

    /// The settings that change the meaning of statements and for which sessions may have other values. Settings
    /// that only bound a statement are left out.
    pub(crate) fn lacking(&self, facts: &SessionFacts) -> Vec<&str> {
        let lacks = |(name, value): &&(String, String)| {
            !name.to_ascii_lowercase().ends_with("_timeout") && facts.differs(name, value)
        };
        self.settings
            .iter()
            .filter(lacks)
            .map(|(name, _)| &**name)
            .collect()
    }

    /// The `statement_timeout`, if there is one.
    pub(crate) fn statement_timeout(&self) -> Option<Duration> {
        let is_it = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("statement_timeout");
        let (_, value) = self.settings.iter().find(is_it)?;
        milliseconds(value).filter(|timeout| !timeout.is_zero())
    }

    /// Whether transactions that name no isolation level have this one.
    pub(crate) fn default_isolation_is(&self, level: &str) -> bool {
        self.settings.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("default_transaction_isolation")
                && value.eq_ignore_ascii_case(level)
        })
    }
}

/// A time as the server reads it: a number of milliseconds, or with a unit.
fn milliseconds(value: &str) -> Option<Duration> {
    let value = value.trim();
    let digits = value.find(|char: char| !char.is_ascii_digit());
    let (number, unit) = value.split_at(digits.unwrap_or(value.len()));
    let number: u64 = number.parse().ok()?;
    let factor = match unit.trim() {
        "us" => return Some(Duration::from_micros(number)),
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor).map(Duration::from_millis)
}

/// The settings as SQL, each statement with its semicolon.
fn batch(settings: &[(String, String)]) -> String {
    let mut batch = String::new();
    for (name, value) in settings {
        // Writing into a `String` does not fail.
        let _ok = write!(
            batch,
            "SELECT pg_catalog.set_config({}, {}, false);",
            literal(name),
            literal(value)
        );
    }
    batch
}

const IDENTITY: &str = "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;";

const BELONGINGS: &str = "CLOSE ALL;UNLISTEN *;SELECT pg_catalog.pg_advisory_unlock_all();\
     DISCARD SEQUENCES;DISCARD TEMP;";

/// Fails if a function has run a PREPARE, which the reset cannot undo, because its name could be anything.
const PREPARED: &str = "SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_prepared_statements \
     WHERE from_sql) THEN 0 ELSE 1 END";

/// PgBouncer restores these for each client on every server connection (`track_extra_parameters` and its built-in
/// list).
fn is_tracked(name: &str) -> bool {
    ["timezone", "datestyle", "standard_conforming_strings"]
        .iter()
        .any(|tracked| name.eq_ignore_ascii_case(tracked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use db_config::{Environment, PooledUrl};

    fn settings(url: &str) -> SessionSettings {
        let endpoint = Endpoint::from(PooledUrl::parse(url).unwrap());
        SessionSettings::new(&endpoint, &PoolProfile::of(&Environment::Dev))
    }

    /// req 2.20, req 2.21, req 2.23, req 2.24, req 2.25
    #[test]
    fn the_profile_fills_what_the_url_leaves_open() {
        let plain = settings("postgres://u@localhost/d");
        assert_eq!(plain.application_name, "app-db");
        assert!(plain.options().contains("-c statement_timeout=30000ms"));
        assert_eq!(plain.startup, [("TimeZone".to_owned(), "UTC".to_owned())]);
        assert!(
            plain
                .options()
                .contains("-c default_transaction_isolation=read\\ committed")
        );

        let own = settings(
            "postgres://u@localhost/d?application_name=own&statement_timeout=5s&options=-c%20timezone%3DAsia/Tokyo",
        );
        assert_eq!(own.application_name, "own");
        assert!(!own.options().contains("30000ms"));
        assert_eq!(
            own.startup,
            [("timezone".to_owned(), "Asia/Tokyo".to_owned())]
        );
        assert!(
            own.default_isolation_is("read committed") && !own.default_isolation_is("serializable")
        );
        assert_eq!(own.statement_timeout(), Some(Duration::from_secs(5)));
        for (value, timeout) in [("250", Some(250)), ("2min", Some(120_000)), ("0", None)] {
            let url = format!("postgres://u@localhost/d?statement_timeout={value}");
            let timeout = timeout.map(Duration::from_millis);
            assert_eq!(settings(&url).statement_timeout(), timeout, "{value}");
        }
    }

    /// req 2.22, case R50
    #[test]
    fn values_are_escaped_for_the_packet_and_for_sql() {
        let endpoint = Endpoint::from(PooledUrl::parse("postgres://u@localhost/d").unwrap());
        let mut profile = PoolProfile::of(&Environment::Dev);
        profile.search_path = Some("mid_term, long_term, o'brien\\".to_owned());
        let settings = SessionSettings::new(&endpoint, &profile);
        assert!(
            settings
                .options()
                .contains("-c search_path=mid_term,\\ long_term,\\ o'brien\\\\")
        );
        assert!(
            settings.statements().contains(
                "set_config('search_path',  E'mid_term, long_term, o''brien\\\\', false)"
            )
        );
    }

    /// Failure case F4
    #[test]
    fn the_text_restores_our_settings_and_keeps_prepared_statements() {
        let settings = settings("postgres://u@localhost/d");
        let direct = settings.reset_text(Reset::Auto, Pooler::None).unwrap();
        assert!(!direct.contains("DISCARD ALL") && !direct.contains("DEALLOCATE"));
        assert!(!direct.contains("set_config"), "{direct}");
        let behind = settings.reset_text(Reset::Always, Pooler::Session).unwrap();
        let place = |part: &str| behind.find(part).unwrap();
        for set in [
            "'TimeZone', 'UTC'",
            "'application_name', 'app-db'",
            "'client_encoding'",
        ] {
            assert!(place("RESET ALL") < place(set), "{behind}");
        }
    }

    /// case R32
    #[test]
    fn a_shared_session_is_never_reset() {
        let settings = settings("postgres://u@localhost/d");
        let shared = Pooler::Shared { keeps_names: true };
        for policy in [Reset::Auto, Reset::Always] {
            assert_eq!(settings.reset_text(policy, shared), None);
        }
        assert_eq!(settings.reset_text(Reset::Never, Pooler::None), None);
    }
}
