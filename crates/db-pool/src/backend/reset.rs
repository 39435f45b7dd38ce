//! Reset: the next holder gets a session as it was after login.
//!
//! `DISCARD ALL` would do that, but would also drop the prepared statements whose names diesel keeps. So
//! the reset does everything else that `DISCARD ALL` does. Settings return to the values of the startup
//! packet; behind a pooler in session mode the reset sets them again. Behind a pooler that shares sessions,
//! the reset restores only the settings that the pooler keeps for each client. The server reports those
//! settings, so the pool need not guess.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::{FutureExt, StreamExt};
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::backend::close_reason::CloseReason;
use crate::backend::verdict::Verdict;
use crate::profile::Reset;
use crate::registry::Registry;
use crate::totals::Totals;
use db_wire::{Observed, Residue, Rules, literal};

/// How the session of one backend is reset.
pub(crate) enum SessionReset {
    /// A session that only this pool uses.
    Own { text: Arc<str>, always: bool },
    /// A session that no text can reset completely. Pgpool-II resets it when it is closed.
    Closed { always: bool },
    /// A session that a pooler shares with other clients.
    Shared { interval_style: bool },
}

impl SessionReset {
    /// `None` if sessions stay as their holders leave them.
    pub(crate) fn of(rules: Option<&Rules>, policy: Reset) -> Option<Self> {
        let rules = rules?;
        if policy != Reset::Never && rules.shared_session {
            let interval_style = rules.keeps_interval_style;
            return Some(Self::Shared { interval_style });
        }
        let always = policy == Reset::Always;
        if rules.closes_altered {
            return Some(Self::Closed { always });
        }
        let text = rules.reset.clone()?;
        Some(Self::Own { text, always })
    }

    /// The verdict on a healthy backend, given what its holder may have left in the session.
    pub(crate) fn verdict(&self, observed: &Observed) -> Verdict {
        match self {
            Self::Own { always, .. } => match observed.residue() {
                Residue::Nothing if !always => Verdict::Keep,
                Residue::Nothing | Residue::Undoable => Verdict::Reset,
                Residue::Lasting => Verdict::Discard(CloseReason::Altered),
            },
            Self::Closed { always } => match observed.residue() {
                Residue::Nothing if !always => Verdict::Keep,
                _ => Verdict::Discard(CloseReason::Altered),
            },
            Self::Shared { interval_style } => match put_back(observed, *interval_style) {
                None => Verdict::Keep,
                Some(_text) => Verdict::Reset,
            },
        }
    }

    /// Resets the session in one round trip. If that fails it returns `false`, and nobody may use the
    /// connection any more. The same holds if the future is dropped.
    pub(crate) async fn run(
        &self,
        conn: &mut AsyncPgConnection,
        observed: &Observed,
        registry: &Registry,
    ) -> bool {
        let pool = &*registry.name;
        let text = match self {
            Self::Own { text, .. } => text.to_string(),
            // Its verdict is never `Reset`.
            Self::Closed { .. } => return false,
            Self::Shared { interval_style } => {
                put_back(observed, *interval_style).unwrap_or_default()
            }
        };
        match timeout(BOUND, conn.batch_execute(&text)).await {
            Ok(Ok(())) => Totals::count(&registry.totals.resets),
            Ok(Err(error)) => {
                tracing::warn!(target: "app_db::pool", pool, %error, "a session could not be reset");
                return false;
            }
            Err(_elapsed) => {
                tracing::warn!(target: "app_db::pool", pool, bound = ?BOUND, "a session was not reset in time");
                return false;
            }
        }
        // Notifications up to now were for the holder that listened. All of them are here, because the
        // driver delivers in order.
        let mut notifications = pin!(conn.notifications_stream());
        while let Some(Some(_)) = unconstrained(notifications.next()).now_or_never() {}
        true
    }
}

/// The statements that restore the parameters' first values. `None` if none has changed.
fn put_back(observed: &Observed, interval_style: bool) -> Option<String> {
    let mut text = String::new();
    for (name, value) in observed.changed_parameters() {
        // The wire has refused to change a setting that the pooler does not keep.
        if interval_style || name != "IntervalStyle" {
            // Writing into a `String` does not fail.
            let _ok = write!(text, "SET {name} TO {};", literal(&value));
        }
    }
    (!text.is_empty()).then_some(text)
}

/// How long the reset of a session may take. Nobody has the connection meanwhile.
const BOUND: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_decides_unless_the_profile_does() {
        let reset = |policy| {
            let rules = Rules {
                reset: Some("RESET ALL".into()),
                ..Rules::default()
            };
            SessionReset::of(Some(&rules), policy).unwrap()
        };
        let observed = Observed::default();
        assert_eq!(reset(Reset::Auto).verdict(&observed), Verdict::Keep);
        assert_eq!(reset(Reset::Always).verdict(&observed), Verdict::Reset);
    }

    #[test]
    fn a_session_that_no_text_resets_is_kept_only_as_it_was() {
        let rules = Rules {
            closes_altered: true,
            ..Rules::default()
        };
        let verdict = |policy| {
            let reset = SessionReset::of(Some(&rules), policy).unwrap();
            reset.verdict(&Observed::default())
        };
        assert_eq!(verdict(Reset::Auto), Verdict::Keep);
        let altered = Verdict::Discard(CloseReason::Altered);
        assert_eq!(verdict(Reset::Always), altered);
    }

    #[test]
    fn a_shared_session_is_reset_where_a_parameter_has_changed() {
        let rules = Rules {
            shared_session: true,
            ..Rules::default()
        };
        let reset = SessionReset::of(Some(&rules), Reset::Auto).unwrap();
        assert_eq!(reset.verdict(&Observed::default()), Verdict::Keep);
        assert!(SessionReset::of(Some(&rules), Reset::Never).is_none());
    }
}
