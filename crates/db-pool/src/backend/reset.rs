//! Reset: a session is given on as it was after login.
//!
//! `DISCARD ALL` would do it and take the prepared statements along, whose names diesel keeps. So this is
//! the rest of what it does (failure case F4). Settings return to what the startup packet says; behind a
//! pooler in session mode they are said once more.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::backend::{Doom, Verdict};
use crate::connect::pooler::Pooler;
use crate::connect::session_settings::SessionSettings;
use crate::profile::Reset;
use crate::registry::Registry;
use crate::status::Totals;
use db_wire::{Residue, Rules};

/// How the session of one backend is reset.
pub(crate) struct SessionReset {
    text: Arc<str>,
    always: bool,
}

impl SessionReset {
    /// `None` where sessions stay as they are left.
    pub(crate) fn of(rules: Option<&Rules>, policy: Reset) -> Option<Self> {
        let text = rules?.reset.clone()?;
        let always = policy == Reset::Always;
        Some(Self { text, always })
    }

    /// What becomes of a sound backend in whose session this was left.
    pub(crate) fn verdict(&self, residue: Residue) -> Verdict {
        match residue {
            Residue::Nothing if !self.always => Verdict::Keep,
            Residue::Nothing | Residue::Undoable => Verdict::Reset,
            Residue::Lasting => Verdict::Discard(Doom::Altered),
        }
    }

    /// Resets the session in one round trip; `false` when that fails, and the connection is good for nobody
    /// then. So it is if the future is dropped.
    pub(crate) async fn run(&self, conn: &mut AsyncPgConnection, registry: &Registry) -> bool {
        let pool = &*registry.name;
        match timeout(BOUND, conn.batch_execute(&self.text)).await {
            Ok(Ok(())) => Totals::count(&registry.totals.resets),
            Ok(Err(error)) => {
                tracing::warn!(pool, %error, "a session could not be reset");
                return false;
            }
            Err(_elapsed) => {
                tracing::warn!(pool, "a session was not reset within {BOUND:?}");
                return false;
            }
        }
        // What a channel has said up to now was for the borrower who listened. All of it is there: the
        // driver delivers in order.
        let mut notifications = pin!(conn.notifications_stream());
        while let Some(Some(_)) = unconstrained(notifications.next()).now_or_never() {}
        true
    }
}

/// The text that resets a session, or `None` where there is nothing to reset or no session of our own.
pub(crate) fn text(policy: Reset, pooler: Pooler, settings: &SessionSettings) -> Option<Arc<str>> {
    let settings = match (policy, pooler) {
        (Reset::Never, _) => return None,
        (_, Pooler::None) => String::new(),
        (_, Pooler::Session) => settings.all_statements(),
        // A shared session's state is not ours to reset, nor could it be reached.
        _ => return None,
    };
    // One batch is one transaction: all of it is done, or the connection is discarded. The settings come
    // first, as names are to be looked up by them. RESET ROLE returns to a role of the startup packet.
    Some(format!("{IDENTITY}{settings}{BELONGINGS}{PREPARED}").into())
}

const IDENTITY: &str = "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;";

const BELONGINGS: &str = "CLOSE ALL;UNLISTEN *;SELECT pg_catalog.pg_advisory_unlock_all();\
     DISCARD SEQUENCES;DISCARD TEMP;";

/// Fails if a function has run a PREPARE, whose name could be anything: it cannot be taken back.
const PREPARED: &str = "SELECT 1 / CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_prepared_statements \
     WHERE from_sql) THEN 0 ELSE 1 END";

/// How long resetting a session may take; nobody has the connection meanwhile.
const BOUND: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::PoolProfile;
    use db_config::{Endpoint, Environment, PooledUrl};

    fn settings() -> SessionSettings {
        let endpoint = Endpoint::from(PooledUrl::parse("postgres://u@localhost/d").unwrap());
        SessionSettings::new(&endpoint, &PoolProfile::of(&Environment::Dev))
    }

    /// Failure case F4
    #[test]
    fn the_text_restores_our_settings_and_keeps_prepared_statements() {
        let direct = text(Reset::Auto, Pooler::None, &settings()).unwrap();
        assert!(!direct.contains("DISCARD ALL") && !direct.contains("DEALLOCATE"));
        assert!(!direct.contains("set_config"), "{direct}");
        let behind = text(Reset::Always, Pooler::Session, &settings()).unwrap();
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
        let shared = Pooler::Shared { keeps_names: true };
        for policy in [Reset::Auto, Reset::Always] {
            assert_eq!(text(policy, shared, &settings()), None);
        }
        assert_eq!(text(Reset::Never, Pooler::None, &settings()), None);
    }

    #[test]
    fn what_was_left_decides_unless_the_profile_does() {
        let reset = |policy| {
            let rules = Rules {
                reset: Some("RESET ALL".into()),
                ..Rules::default()
            };
            SessionReset::of(Some(&rules), policy).unwrap()
        };
        let auto = reset(Reset::Auto);
        assert_eq!(auto.verdict(Residue::Nothing), Verdict::Keep);
        assert_eq!(auto.verdict(Residue::Undoable), Verdict::Reset);
        let lasting = auto.verdict(Residue::Lasting);
        assert_eq!(lasting, Verdict::Discard(Doom::Altered));
        assert_eq!(
            reset(Reset::Always).verdict(Residue::Nothing),
            Verdict::Reset
        );
    }
}
