//! Finds the cause from the facts at the moment when a caller's time is up.

use std::time::Duration;

use crate::backend::hold::Hold;
use crate::checkout::diagnosis::Diagnosis;
use crate::connect::connect_error::ConnectFailure;

/// Where the caller was when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitStage {
    /// In the queue.
    Gate,
    /// Behind the gate, waiting for a connection that did not exist yet.
    Connecting,
}

/// The facts behind a diagnosis.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) waited: Duration,
    pub(crate) stage: WaitStage,
    pub(crate) max: u32,
    pub(crate) open: u32,
    pub(crate) dialling: u32,
    pub(crate) unanswered: u32,
    pub(crate) failure: Option<ConnectFailure>,
    /// The pool asked the server for a sign of life and got none.
    pub(crate) is_silent: bool,
    /// There is a pooler in front of the server.
    pub(crate) by_pooler: bool,
    /// The waiting task.
    pub(crate) task: Option<tokio::task::Id>,
    pub(crate) served: u64,
    pub(crate) leak_threshold: Option<Duration>,
    pub(crate) holds: Vec<Hold>,
}

impl Facts {
    /// What the facts mean; see [`Diagnosis`] for the rules.
    pub(crate) fn diagnose(self) -> Diagnosis {
        let held = self.holds.len() as u32;
        if self.is_silent && self.open > 0 {
            return match self.by_pooler {
                true => Diagnosis::PoolerSilent { held },
                false => Diagnosis::ServerSilent { held },
            };
        }
        if let Some(failure) = self.failure
            && (self.open == 0 || held < self.max)
        {
            let open = self.open;
            return match open {
                0 => Diagnosis::Unreachable { failure },
                _ => Diagnosis::CannotGrow { open, failure },
            };
        }
        // From the queue, a place that is just changing hands looks free.
        if self.stage == WaitStage::Connecting || (held < self.max && self.served == 0) {
            return match (self.unanswered, self.dialling) {
                (0, 0) => Diagnosis::Closing {
                    closing: self.open.saturating_sub(held),
                },
                (0, dialling) => Diagnosis::Connecting { dialling },
                (unanswered, _) => Diagnosis::Silent { unanswered },
            };
        }
        self.blame()
    }

    /// The connection that the waiting task itself has held all the time.
    fn held_by_itself(&self) -> Option<Hold> {
        let task = self.task?;
        let mut own = self.holds.iter();
        own.find(|hold| hold.task == Some(task) && hold.held >= self.waited)
            .cloned()
    }

    /// Every connection is held. Says who holds them, or that there are too many callers.
    fn blame(self) -> Diagnosis {
        if let Some(own) = self.held_by_itself() {
            return Diagnosis::HeldByItself { own };
        }
        let (held, served) = (self.holds.len(), self.served);
        let (waited, threshold) = (self.waited, self.leak_threshold);
        let mut stuck = self.holds;
        stuck.retain(|hold| hold.held >= waited);
        if stuck.is_empty() || (served > 0 && 2 * stuck.len() < held) {
            return Diagnosis::TooSmall { served };
        }
        let (leaked, others): (Vec<_>, Vec<_>) = stuck
            .into_iter()
            .partition(|hold| hold.is_idle() && threshold.is_some_and(|bound| hold.held >= bound));
        let (working, withheld): (Vec<_>, Vec<_>) = others.into_iter().partition(|hold| {
            hold.is_in_transaction() || hold.running.is_some_and(|running| running >= waited)
        });
        let (leaks, works, rest) = (leaked.len(), working.len(), withheld.len());
        let longest = |holds: Vec<Hold>| holds.into_iter().max_by_key(|hold| hold.held);
        let most = leaks.max(works).max(rest);
        let count = most as u32;
        let named = if leaks == most {
            longest(leaked).map(|longest| Diagnosis::Leaked { count, longest })
        } else if works == most {
            longest(working).map(|longest| Diagnosis::LongTransaction { count, longest })
        } else {
            longest(withheld).map(|longest| Diagnosis::Withheld { count, longest })
        };
        named.unwrap_or(Diagnosis::TooSmall { served })
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;

    use super::*;
    use db_wire::TransactionStatus;

    const WAITED: Duration = Duration::from_secs(5);
    const THRESHOLD: Duration = Duration::from_secs(60);

    fn idle(seconds: u64) -> Hold {
        Hold {
            call_site: Location::caller(),
            held: Duration::from_secs(seconds),
            label: None,
            transaction: TransactionStatus::Idle,
            running: None,
            statement: None,
            task: None,
        }
    }

    fn in_transaction(seconds: u64) -> Hold {
        Hold {
            transaction: TransactionStatus::InTransaction,
            ..idle(seconds)
        }
    }

    fn running(held: u64, seconds: u64) -> Hold {
        Hold {
            running: Some(Duration::from_secs(seconds)),
            ..idle(held)
        }
    }

    fn full(holds: Vec<Hold>) -> Facts {
        Facts {
            waited: WAITED,
            stage: WaitStage::Gate,
            max: holds.len() as u32,
            open: holds.len() as u32,
            dialling: 0,
            unanswered: 0,
            failure: None,
            is_silent: false,
            by_pooler: false,
            task: None,
            served: 0,
            leak_threshold: Some(THRESHOLD),
            holds,
        }
    }

    /// req 0.29
    #[test]
    fn a_pool_is_too_small_while_most_of_it_comes_and_goes() {
        let mut facts = full(vec![idle(1), running(2, 2), in_transaction(300)]);
        facts.served = 40;
        let found = facts.diagnose();
        assert!(
            matches!(found, Diagnosis::TooSmall { served: 40 }),
            "{found}"
        );
        // Half of the pool is stuck, so the callers wait for the stuck connections.
        let mut facts = full(vec![idle(1), in_transaction(300)]);
        facts.served = 40;
        let found = facts.diagnose();
        assert!(
            matches!(found, Diagnosis::LongTransaction { count: 1, .. }),
            "{found}"
        );
    }

    /// case R14, req 0.24, req 0.29
    #[test]
    fn a_leak_is_a_long_hold_without_work() {
        let found = full(vec![idle(61), idle(75), in_transaction(300)]).diagnose();
        let Diagnosis::Leaked { count: 2, longest } = &found else {
            panic!("{found}");
        };
        assert_eq!(longest.held, Duration::from_secs(75));
        let mut never = full(vec![idle(1_000)]);
        never.leak_threshold = None;
        for facts in [full(vec![idle(59)]), never, full(vec![running(300, 1)])] {
            let found = facts.diagnose();
            assert!(
                matches!(found, Diagnosis::Withheld { count: 1, .. }),
                "{found}"
            );
        }
    }

    /// req 0.29
    #[test]
    fn a_long_transaction_is_one_that_lasts_as_long_as_the_wait_and_so_is_a_long_statement() {
        for hold in [in_transaction(5), running(5, 5), running(100, 70)] {
            let found = full(vec![hold]).diagnose();
            assert!(
                matches!(found, Diagnosis::LongTransaction { count: 1, .. }),
                "{found}"
            );
        }
    }

    /// The diagnosis does not blame the load for a silent server.
    #[test]
    fn silence_is_a_cause_of_its_own() {
        for by_pooler in [false, true] {
            let facts = Facts {
                is_silent: true,
                by_pooler,
                served: 40,
                ..full(vec![in_transaction(300), running(9, 9)])
            };
            let found = facts.diagnose().to_string();
            let who = if by_pooler {
                "the pooler is silent"
            } else {
                "the server is silent"
            };
            assert!(found.starts_with(who), "{found}");
        }
    }

    /// Issue 12, point 3: a task that waits for the connection that it holds itself is told so.
    #[tokio::test]
    async fn a_task_that_waits_for_itself_is_told_so() {
        let task = tokio::spawn(async { tokio::task::id() }).await.ok();
        let own = Hold { task, ..idle(6) };
        let facts = |holds| Facts {
            task,
            ..full(holds)
        };
        let found = facts(vec![in_transaction(300), own.clone()])
            .diagnose()
            .to_string();
        assert!(
            found.starts_with("the waiting task itself has held one since"),
            "{found}"
        );
        let new = Hold {
            held: Duration::from_secs(1),
            ..own
        };
        let found = facts(vec![new]).diagnose();
        assert!(matches!(found, Diagnosis::TooSmall { .. }), "{found}");
        let found = facts(vec![idle(6)]).diagnose();
        assert!(matches!(found, Diagnosis::Withheld { .. }), "{found}");
    }

    /// req 0.30
    #[test]
    fn a_failure_to_connect_counts_where_it_stands_in_the_way() {
        let facts = |held: u32, open| Facts {
            failure: Some(ConnectFailure::UnknownHost),
            open,
            max: 2,
            ..full((0..held).map(|_| idle(6)).collect())
        };
        let found = facts(0, 0).diagnose();
        assert!(matches!(found, Diagnosis::Unreachable { .. }), "{found}");
        assert_eq!(found.to_string(), "the server's name is not resolved");
        let found = facts(1, 1).diagnose();
        assert!(
            matches!(found, Diagnosis::CannotGrow { open: 1, .. }),
            "{found}"
        );
        let found = facts(2, 2).diagnose();
        assert!(matches!(found, Diagnosis::Withheld { .. }), "{found}");
    }

    /// req 0.30
    #[test]
    fn a_place_without_a_connection_is_being_made_or_unmade() {
        let facts = |stage, dialling, served| Facts {
            stage,
            dialling,
            served,
            max: 2,
            open: 2 - dialling,
            ..full(vec![running(1, 1)])
        };
        let found = facts(WaitStage::Connecting, 1, 7).diagnose();
        assert!(
            matches!(found, Diagnosis::Connecting { dialling: 1 }),
            "{found}"
        );
        let found = facts(WaitStage::Connecting, 0, 0).diagnose();
        assert!(
            matches!(found, Diagnosis::Closing { closing: 1 }),
            "{found}"
        );
        let found = facts(WaitStage::Gate, 1, 0).diagnose();
        assert!(matches!(found, Diagnosis::Connecting { .. }), "{found}");
        let unanswered = Facts {
            unanswered: 1,
            ..facts(WaitStage::Gate, 1, 0)
        };
        let found = unanswered.diagnose();
        assert!(
            matches!(found, Diagnosis::Silent { unanswered: 1 }),
            "{found}"
        );
        let found = facts(WaitStage::Gate, 0, 7).diagnose();
        assert!(matches!(found, Diagnosis::TooSmall { .. }), "{found}");
    }
}
