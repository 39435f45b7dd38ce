//! A pool of any size stays whole when any future is dropped, wherever the server is.
//!
//! Each test has one kind of victim, and tries every gate with every size. The victims are dropped while the
//! server waits at the gate, or some turns of the runtime after it was let through. Other callers may have
//! come after them, and stay.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::Point::{self, Closing, Ping, Reset, Statement};
use super::server::Doing;
use super::victim::{DIALLING, Victim, altered};
use super::workplace::{AT_ONCE, Workplace, on_paused_clock, quiet, sized};
use crate::error::PoolError;

/// When the server is let through the gate.
#[derive(Clone, Copy, Debug)]
enum Release {
    /// This many turns before the victims are dropped.
    Before(u32),
    After,
}

async fn dropped(victim: Victim, gate: Point, size: u32, release: Release, others: u32) {
    let mut profile = sized(size);
    match victim {
        Victim::Doubters => profile.validate_after = Duration::ZERO,
        Victim::WarmUp => profile.min_idle = size,
        _ => {}
    }
    let work = Workplace::new(profile);
    if !victim.comes_first() {
        drop(work.all().await);
    }
    let gates = &work.server.gates;
    for point in [victim.stopped_at(), Some(gate)].into_iter().flatten() {
        gates.shut(point);
    }
    let tasks = victim.begin(&work).await;
    quiet().await;
    let others: Vec<_> = (0..others).map(|_| tokio::spawn(work.pool.get())).collect();
    quiet().await;
    if let Release::Before(turns) = release {
        gates.open(gate);
        for _ in 0..turns {
            yield_now().await;
        }
    }
    victim.interfere(&work.pool);
    for task in &tasks {
        task.abort();
    }
    for task in tasks {
        if let Err(ended) = task.await {
            assert!(ended.is_cancelled(), "{ended}");
        }
    }
    quiet().await;
    if let Some(point) = victim.stopped_at() {
        gates.open(point);
        quiet().await;
    }
    if others.is_empty() {
        let met = gates.arrived(gate) > 0;
        assert_eq!(met, victim.meets(gate, size), "whether it comes there");
        let status = work.pool.status();
        let standing = !work.shared().registry.turns.is_empty();
        assert_eq!((status.waiting, status.in_use, standing), (0, 0, false));
    }
    if !victim.closes() {
        work.pool.resize(size).unwrap();
    }
    gates.open_all();
    for other in others {
        let served = timeout(AT_ONCE, other).await.unwrap().unwrap();
        assert!(served.is_ok() || victim.closes(), "{served:?}");
    }
    work.comes_to_rest().await;
    if victim.closes() {
        work.is_at_rest();
        let refused = work.pool.get().await.unwrap_err();
        assert!(matches!(refused, PoolError::Closed { .. }), "{refused}");
    } else {
        let beside = usize::from(victim == Victim::Rotation);
        work.is_whole(beside).await;
    }
    if victim.is_harmless() {
        assert_eq!(work.pool.status().closed.discarded, 0);
    }
    let facts = work.server.facts();
    let at_commit = facts
        .cancels
        .iter()
        .filter(|cancel| cancel.found == Some(Doing::Commit));
    assert_eq!(at_commit.count(), 0, "COMMITs that were to be cancelled");
    // A transaction is committed if the client has asked for COMMIT. At the gate of its statement it has not
    // asked yet.
    if victim == Victim::Commits && gate != Statement {
        assert_eq!(facts.commits, size);
    }
}

/// Drops this victim at every gate of pools of every size.
fn dropped_everywhere(victim: Victim) {
    for size in 1..=3 {
        for gate in Point::ALL {
            let most = if victim.meets(gate, size) { 6 } else { 1 };
            let before = (0..most).map(Release::Before);
            for release in before.chain([Release::After]) {
                for others in [0, size] {
                    println!("{victim:?} of {size} at {gate:?}, {release:?}, {others} others");
                    on_paused_clock(dropped(victim, gate, size, release, others));
                }
            }
        }
    }
}

/// case F6
#[test]
fn callers_whose_connections_are_made() {
    dropped_everywhere(Victim::Callers);
}

/// case F9
#[test]
fn callers_whose_connections_are_asked_for_a_sign_of_life() {
    dropped_everywhere(Victim::Doubters);
}

/// case R01
#[test]
fn callers_in_the_queue_for_sessions_that_are_reset() {
    dropped_everywhere(Victim::Queue);
}

#[test]
fn statements_in_flight() {
    dropped_everywhere(Victim::Statements);
}

/// case F3
#[test]
fn those_who_leave_the_rest_of_an_answer() {
    dropped_everywhere(Victim::Settlers);
}

#[test]
fn transactions_left_open() {
    dropped_everywhere(Victim::Transactions);
}

#[test]
fn transactions_at_their_commit() {
    dropped_everywhere(Victim::Commits);
}

#[test]
fn transactions_at_their_rollback() {
    dropped_everywhere(Victim::Rollbacks);
}

/// req 4.46
#[test]
fn a_rotation() {
    dropped_everywhere(Victim::Rotation);
}

#[test]
fn a_warm_up() {
    dropped_everywhere(Victim::WarmUp);
}

/// case R18
#[test]
fn callers_of_a_pool_that_is_resized() {
    dropped_everywhere(Victim::Resized);
}

/// case R11
#[test]
fn a_close_and_what_it_has_cancelled() {
    dropped_everywhere(Victim::Close);
}

/// case R11
#[test]
fn callers_of_a_pool_that_closes() {
    dropped_everywhere(Victim::ClosedOn);
}

/// case R11, case F4
#[test]
fn a_pool_that_closes_while_sessions_are_reset() {
    dropped_everywhere(Victim::Resets);
}

/// When the last handle is dropped, the pool refuses waiting callers, and nothing is left, however far
/// connecting or returning has come.
#[test]
fn the_last_handle() {
    for gate in DIALLING.into_iter().chain([Ping, Reset, Closing]) {
        on_paused_clock(async {
            let mut profile = sized(3);
            if gate == Ping {
                profile.validate_after = Duration::ZERO;
            }
            let work = Workplace::new(profile);
            if !DIALLING.contains(&gate) {
                let held = altered(&work.pool).await;
                work.server.gates.shut(gate);
                drop(held);
            }
            work.server.gates.shut(gate);
            let callers: Vec<_> = (0..4).map(|_| tokio::spawn(work.pool.get())).collect();
            quiet().await;
            let Workplace { server, pool } = work;
            drop(pool);
            quiet().await;
            server.gates.open_all();
            for caller in callers {
                let answer = timeout(AT_ONCE, caller).await.unwrap().unwrap();
                assert!(gate == Closing || answer.is_err(), "{gate:?}: {answer:?}");
            }
            quiet().await;
            assert!(server.gates.arrived(gate) > 0);
            assert_eq!(server.facts().live.len(), 0, "{gate:?}");
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "{gate:?}");
        });
    }
}
