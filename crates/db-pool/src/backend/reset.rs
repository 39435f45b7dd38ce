//! Reset: a session is given on as it was after login.
//!
//! `DISCARD ALL` would do it and take the prepared statements along, whose names diesel keeps. So this is
//! the rest of what it does. Settings return to what the startup packet says; behind a
//! pooler in session mode they are said once more. Behind a pooler that shares sessions only those settings
//! are put back that it keeps for each of its clients: the server reports them, so that they need no guess.

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
    /// A session of our own.
    Own { text: Arc<str>, always: bool },
    /// A session that no text resets as a whole; Pgpool-II resets it when it is closed.
    Closed { always: bool },
    /// A session that a pooler shares with others.
    Shared { interval_style: bool },
}

impl SessionReset {
    /// `None` where sessions stay as they are left.
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

    /// What becomes of a sound backend, given what its holder may have left in the session.
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

    /// Resets the session in one round trip; `false` when that fails, and the connection is good for nobody
    /// then. So it is if the future is dropped.
    pub(crate) async fn run(
        &self,
        conn: &mut AsyncPgConnection,
        observed: &Observed,
        registry: &Registry,
    ) -> bool {
        let pool = &*registry.name;
        let text = match self {
            Self::Own { text, .. } => text.to_string(),
            // Its verdict is never to reset.
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
        // What a channel has said up to now was for the holder who listened. All of it is there: the
        // driver delivers in order.
        let mut notifications = pin!(conn.notifications_stream());
        while let Some(Some(_)) = unconstrained(notifications.next()).now_or_never() {}
        true
    }
}

/// The statements that give the parameters their first values again; `None` where none has changed.
fn put_back(observed: &Observed, interval_style: bool) -> Option<String> {
    let mut text = String::new();
    for (name, value) in observed.changed_parameters() {
        // A pooler that does not keep it has refused to set it.
        if interval_style || name != "IntervalStyle" {
            // Writing into a String does not fail.
            let _ok = write!(text, "SET {name} TO {};", literal(&value));
        }
    }
    (!text.is_empty()).then_some(text)
}

/// How long resetting a session may take; nobody has the connection meanwhile.
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
