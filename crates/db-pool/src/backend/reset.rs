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

use crate::backend::close_reason::CloseReason;
use crate::backend::verdict::Verdict;
use crate::profile::Reset;
use crate::registry::Registry;
use crate::totals::Totals;
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
            Residue::Lasting => Verdict::Discard(CloseReason::Altered),
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
        // What a channel has said up to now was for the holder who listened. All of it is there: the
        // driver delivers in order.
        let mut notifications = pin!(conn.notifications_stream());
        while let Some(Some(_)) = unconstrained(notifications.next()).now_or_never() {}
        true
    }
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
        let auto = reset(Reset::Auto);
        assert_eq!(auto.verdict(Residue::Nothing), Verdict::Keep);
        assert_eq!(auto.verdict(Residue::Undoable), Verdict::Reset);
        let lasting = auto.verdict(Residue::Lasting);
        assert_eq!(lasting, Verdict::Discard(CloseReason::Altered));
        assert_eq!(
            reset(Reset::Always).verdict(Residue::Nothing),
            Verdict::Reset
        );
    }
}
