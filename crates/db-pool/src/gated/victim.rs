//! The victims of the tests of cancellation, and the points that the server reaches because of
//! each.

use std::future::pending;
use std::time::Duration;

use db_config::Credentials;
use diesel::result::Error::RollbackTransaction;
use diesel::sql_types::Integer;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::task::{JoinHandle, yield_now};

use super::Point::{
    self, Accepting, Cancel, Cancelled, Closing, Commit, Detection, Greeting, Ping, Reset, Rest,
    Rollback, Startup, Statement,
};
use super::workplace::Workplace;
use crate::checkout::connection::Connection;
use crate::pool::Pool;

/// The kind of future that is dropped, and what else interferes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// Callers for whom connections are made, and who then hold them.
    Callers,
    /// Callers whose connections are asked for a sign of life.
    Doubters,
    /// Callers in the queue, while the sessions that they wait for are reset.
    Queue,
    /// Statements in flight.
    Statements,
    /// Callers that have taken a row and left the rest of the answer, and whose connection comes
    /// back meanwhile.
    Settlers,
    /// Transactions in which nothing runs.
    Transactions,
    /// Transactions that commit.
    Commits,
    /// Transactions that roll back.
    Rollbacks,
    Rotation,
    WarmUp,
    /// Callers for whom connections are made, while the pool shrinks and grows again.
    Resized,
    /// A close that has cancelled statements in flight, and the holders of these connections.
    Close,
    /// Callers for whom connections are made, while the pool closes.
    ClosedOn,
    /// Nobody: the pool closes while sessions are reset.
    Resets,
}

pub(super) const DIALLING: [Point; 4] = [Accepting, Startup, Greeting, Detection];

impl Victim {
    /// A second gate that holds the victim back, so that it is dropped there.
    pub(super) fn stopped_at(self) -> Option<Point> {
        match self {
            Self::Statements | Self::Close => Some(Statement),
            Self::Commits => Some(Commit),
            Self::Rollbacks => Some(Rollback),
            _ => None,
        }
    }

    /// Whether the server reaches this point because of the victim, before or after the drop.
    pub(super) fn meets(self, point: Point, size: u32) -> bool {
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

    /// Whether the victim needs a pool without connections.
    pub(super) fn comes_first(self) -> bool {
        matches!(
            self,
            Self::Callers | Self::WarmUp | Self::Resized | Self::ClosedOn
        )
    }

    /// Whether it leaves every connection in a state that the pool can keep.
    pub(super) fn is_harmless(self) -> bool {
        matches!(self, Self::Doubters | Self::Queue | Self::Settlers) || self.comes_first()
    }

    pub(super) fn closes(self) -> bool {
        matches!(self, Self::Close | Self::ClosedOn | Self::Resets)
    }

    /// Starts the tasks that will be aborted.
    pub(super) async fn begin(self, work: &Workplace) -> Vec<JoinHandle<()>> {
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

    /// What one victim does, until it is dropped.
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
        pending::<()>().await;
    }

    /// Interferes at the moment when the victims are dropped.
    pub(super) fn interfere(self, pool: &Pool) {
        match self {
            Self::Resized => pool.resize(1).unwrap(),
            Self::ClosedOn | Self::Resets => crate::plumbing::begin_close(pool),
            _ => {}
        }
    }
}

/// All connections of a pool, each with something set in its session.
pub(super) async fn altered(pool: &Pool) -> Vec<Connection> {
    let mut all = Vec::new();
    for _ in 0..pool.status().max {
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute("set lock_timeout = 5").await.unwrap();
        all.push(conn);
    }
    all
}
