//! Whoever is dropped, wherever the server has come to, and however large the pool: it stays whole.
//!
//! Each test is one kind of victim, and tries every gate with every size. The victims go while the server
//! waits at the gate, or when it was let through so many turns of the runtime before. Others may have come
//! behind them, who stay.

use std::future::pending;
use std::time::Duration;

use db_config::Credentials;
use diesel::result::Error::RollbackTransaction;
use diesel::sql_types::Integer;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::Point::{
    self, Accepting, Cancel, Cancelled, Closing, Commit, Detection, Greeting, Ping, Reset, Rest,
    Rollback, Startup, Statement,
};
use super::server::Doing;
use super::workplace::{AT_ONCE, Workplace, on_paused_clock, quiet, sized};
use crate::connection::Connection;
use crate::error::PoolError;
use crate::pool::Pool;

/// Who is dropped, and what else comes in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// Callers for whom connections are made, and who hold them then.
    Callers,
    /// Callers whose connections are asked for a sign of life.
    Doubters,
    /// Callers in the queue, while the sessions that they wait for are reset.
    Queue,
    /// Statements in flight.
    Statements,
    /// Those who have taken a row and left the rest, of whom the connection comes back meanwhile.
    Settlers,
    /// Transactions in which nothing goes on.
    Transactions,
    /// Transactions that commit.
    Commits,
    /// Transactions that roll back.
    Rollbacks,
    Rotation,
    WarmUp,
    /// Callers for whom connections are made, while the pool shrinks and grows again.
    Resized,
    /// A close that has cancelled what was in flight, and those who held it.
    Close,
    /// Callers for whom connections are made, while the pool closes.
    ClosedOn,
    /// Nobody: the pool closes while sessions are reset.
    Resets,
}

/// When the server is let through the gate.
#[derive(Clone, Copy, Debug)]
enum Release {
    /// So many turns before the victims go.
    Before(u32),
    After,
}

const DIALLING: [Point; 4] = [Accepting, Startup, Greeting, Detection];

impl Victim {
    /// A second gate that holds it back, for it to be dropped there.
    fn stopped_at(self) -> Option<Point> {
        match self {
            Self::Statements | Self::Close => Some(Statement),
            Self::Commits => Some(Commit),
            Self::Rollbacks => Some(Rollback),
            _ => None,
        }
    }

    /// Whether the server comes to this point because of it, before it goes or afterwards.
    fn meets(self, point: Point, size: u32) -> bool {
        let dialling = DIALLING.contains(&point);
        match self {
            Self::Callers | Self::WarmUp => dialling,
            Self::Resized => dialling || (point == Closing && size > 1),
            Self::Rotation | Self::ClosedOn => dialling || point == Closing,
            Self::Doubters => point == Ping,
            Self::Queue => point == Reset,
            Self::Settlers => [Statement, Rest].contains(&point),
            Self::Resets => [Reset, Closing].contains(&point),
            Self::Transactions => [Statement, Closing].contains(&point),
            // No cancel request follows a COMMIT.
            Self::Commits => [Statement, Commit, Closing].contains(&point),
            Self::Rollbacks => [Statement, Rollback, Accepting, Cancel, Closing].contains(&point),
            Self::Statements | Self::Close => {
                [Statement, Accepting, Cancel, Cancelled, Closing].contains(&point)
            }
        }
    }

    /// Whether it comes to a pool without connections.
    fn comes_first(self) -> bool {
        matches!(
            self,
            Self::Callers | Self::WarmUp | Self::Resized | Self::ClosedOn
        )
    }

    fn closes(self) -> bool {
        matches!(self, Self::Close | Self::ClosedOn | Self::Resets)
    }

    /// Tasks that are to be aborted.
    async fn begin(self, work: &Workplace) -> Vec<JoinHandle<()>> {
        let size = work.pool.status().max;
        let each = || (0..size).map(|_| tokio::spawn(self.live(work.pool.clone())));
        match self {
            Self::Rotation | Self::WarmUp => vec![tokio::spawn(self.live(work.pool.clone()))],
            Self::Resets => {
                drop(altered(&work.pool).await);
                Vec::new()
            }
            Self::Queue => {
                let held = altered(&work.pool).await;
                let queue = each().collect();
                while work.pool.status().waiting < size {
                    yield_now().await;
                }
                drop(held);
                queue
            }
            Self::Close => {
                let at_work = (0..size).map(|_| Self::Statements.live(work.pool.clone()));
                let mut tasks: Vec<_> = at_work.map(tokio::spawn).collect();
                work.server.gates.reached(Statement, size).await;
                tasks.push(tokio::spawn(self.live(work.pool.clone())));
                tasks
            }
            _ => each().collect(),
        }
    }

    /// What one of them does, until it is dropped.
    async fn live(self, pool: Pool) {
        let patience = Duration::from_secs(2);
        let connection = match self {
            Self::Rotation => {
                let rotation = pool.rotate(Credentials::new("new", "canary")).await;
                return rotation.unwrap().drained().await;
            }
            Self::WarmUp => {
                pool.warm_up(patience).await;
                return;
            }
            Self::Close => {
                pool.close(Duration::ZERO).await;
                return;
            }
            Self::Doubters => pool.get_timeout(patience).await,
            _ => pool.get().await,
        };
        let Ok(mut conn) = connection else {
            return;
        };
        let update = "update t set v = 1";
        let _outcome = match self {
            Self::Statements => conn.batch_execute("select 1").await,
            Self::Settlers => {
                let row = diesel::dsl::sql::<Integer>("select 7").get_result::<i32>(&mut conn);
                assert_eq!(row.await, Ok(7));
                return;
            }
            Self::Commits => {
                let work = conn.transaction(async |conn| conn.batch_execute(update).await);
                work.await
            }
            Self::Transactions => {
                let work = conn.transaction(async |conn| {
                    conn.batch_execute(update).await?;
                    pending().await
                });
                work.await
            }
            Self::Rollbacks => {
                let work = conn.transaction(async |conn| {
                    conn.batch_execute(update).await?;
                    Err(RollbackTransaction)
                });
                work.await
            }
            _ => Ok(()),
        };
        pending().await
    }

    /// What happens at the moment when they go.
    fn interfere(self, pool: &Pool) {
        match self {
            Self::Resized => pool.resize(1).unwrap(),
            Self::ClosedOn | Self::Resets => pool.begin_close(),
            _ => {}
        }
    }
}

/// All connections of a pool, with something set in their sessions.
async fn altered(pool: &Pool) -> Vec<Connection> {
    let mut all = Vec::new();
    for _ in 0..pool.status().max {
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute("set lock_timeout = 5").await.unwrap();
        all.push(conn);
    }
    all
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
        let _aborted = task.await;
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
        let standing = !work.shared().registry.line.is_empty();
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
    let facts = work.server.facts();
    let at_commit = facts
        .cancels
        .iter()
        .filter(|cancel| cancel.found == Some(Doing::Commit));
    assert_eq!(at_commit.count(), 0, "COMMITs that were to be cancelled");
    // What the client has asked to commit is committed; held up at its statement it had not asked yet.
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

/// Case F6
#[test]
fn callers_whose_connections_are_made() {
    dropped_everywhere(Victim::Callers);
}

/// Case F9
#[test]
fn callers_whose_connections_are_asked_for_a_sign_of_life() {
    dropped_everywhere(Victim::Doubters);
}

/// Case R01
#[test]
fn callers_in_the_queue_for_sessions_that_are_reset() {
    dropped_everywhere(Victim::Queue);
}

#[test]
fn statements_in_flight() {
    dropped_everywhere(Victim::Statements);
}

/// Case F3
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

/// Case R18
#[test]
fn callers_of_a_pool_that_is_resized() {
    dropped_everywhere(Victim::Resized);
}

/// Case R11
#[test]
fn a_close_and_what_it_has_cancelled() {
    dropped_everywhere(Victim::Close);
}

/// Case R11
#[test]
fn callers_of_a_pool_that_closes() {
    dropped_everywhere(Victim::ClosedOn);
}

/// Case R11, F4
#[test]
fn a_pool_that_closes_while_sessions_are_reset() {
    dropped_everywhere(Victim::Resets);
}

/// The last handle goes: whoever asked for a connection is sent away, and nothing is left, wherever connecting
/// or giving back has come to.
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
