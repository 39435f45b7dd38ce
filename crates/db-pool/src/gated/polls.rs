//! The pool stays whole if any future is dropped after any number of polls.
//!
//! Each round polls a future once more than the round before and then drops it, until a round lets it
//! finish. The server sends each of its messages separately, so that every await is reached.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use db_config::Credentials;
use diesel::sql_types::Integer;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::future::join_all;
use futures_util::{StreamExt, poll};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::Point;
use super::server::Server;
use super::workplace::{AT_ONCE, Workplace, on_paused_clock, quiet, sized};
use crate::beside::listener::{Gap, Heard};
use crate::plumbing::{self, DrainRules};
use crate::pool::Pool;
use crate::profile::PoolProfile;

/// Polls a future at most this many times, and then drops it.
async fn polled<F: Future>(times: u32, future: F) -> Option<F::Output> {
    let mut left = times;
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A pool that has either all its connections or none.
struct Round {
    profile: PoolProfile,
    warm: bool,
    /// How many connections may exist beside the pool's own.
    beside: usize,
}

fn cold(profile: PoolProfile) -> Round {
    Round {
        profile,
        warm: false,
        beside: 0,
    }
}

fn warm(profile: PoolProfile) -> Round {
    Round {
        profile,
        warm: true,
        beside: 0,
    }
}

/// Drops the future of `act` after one poll, then after two, and so on until it finishes. It does so in
/// pools of every size, and with a server that waits for different numbers of turns before it says anything.
/// Returns how many rounds there were.
fn dropped_everywhere<T>(round: impl Fn(u32) -> Round, act: impl AsyncFn(&Workplace) -> T) -> u32 {
    let mut rounds = 0;
    for (size, politeness) in (1..=3).flat_map(|size| (0..3).map(move |turns| (size, turns))) {
        let mut finished = false;
        for polls in 1.. {
            if std::mem::take(&mut finished) {
                break;
            }
            rounds += 1;
            on_paused_clock(async {
                let Round {
                    profile,
                    warm,
                    beside,
                } = round(size);
                let work = Workplace::new(profile);
                if warm {
                    drop(work.all().await);
                }
                work.server.politeness.store(politeness, Ordering::Relaxed);
                finished = polled(polls, act(&work)).await.is_some();
                work.comes_to_rest().await;
                if work.shared().registry.is_closed() {
                    work.is_at_rest();
                } else {
                    work.is_whole(beside).await;
                }
            });
        }
    }
    rounds
}

/// How many pools each test tries. Two rounds make one await.
const POOLS: u32 = 3 * 3;

fn several(size: u32) -> std::ops::Range<u32> {
    0..size
}

/// case F6
#[test]
fn callers_whose_connections_are_made() {
    let rounds = dropped_everywhere(
        |size| cold(sized(size)),
        async |work| {
            let callers = several(2 * work.pool.status().max).map(async |_| work.pool.get().await);
            join_all(callers.map(async |held| drop(held.await.unwrap()))).await
        },
    );
    assert!(rounds >= 2 * POOLS, "{rounds}");
}

/// case F9
#[test]
fn callers_whose_connections_are_asked_for_a_sign_of_life() {
    let rounds = dropped_everywhere(
        |size| {
            let mut profile = sized(size);
            profile.validate_after = Duration::ZERO;
            warm(profile)
        },
        async |work| {
            let pools = several(work.pool.status().max).map(|_| work.pool.clone());
            join_all(pools.map(async |pool| drop(pool.try_get().await.unwrap()))).await
        },
    );
    assert!(rounds >= 2 * POOLS, "{rounds}");
}

/// case R01: callers leave the queue in front of callers that stay, and behind them.
#[test]
fn callers_in_the_queue() {
    let rounds = dropped_everywhere(
        |size| warm(sized(size)),
        async |work| {
            let mut held = work.all().await;
            for held in &mut held {
                held.batch_execute("set lock_timeout = 5").await.unwrap();
            }
            let staying = {
                let pool = work.pool.clone();
                tokio::spawn(async move { drop(pool.get().await.unwrap()) })
            };
            tokio::task::yield_now().await;
            let leaving = join_all(several(3).map(async |_| drop(work.pool.get().await.unwrap())));
            let returning = async {
                tokio::task::yield_now().await;
                drop(held);
            };
            tokio::join!(leaving, returning);
            staying.await.unwrap();
        },
    );
    assert!(rounds >= 2 * POOLS, "{rounds}");
}

/// case R01: two callers wait for their turn. The older one hears of a connection and leaves before it
/// looks. The other one has already looked, and hears of it again.
#[test]
fn the_next_in_line_has_what_was_kept_for_the_one_before() {
    on_paused_clock(async {
        let work = Workplace::new(sized(2));
        drop(work.pool.get().await.unwrap());
        // A connection that is being closed takes one place, but no permit.
        work.server.gates.shut(Point::Closing);
        work.server.gates.shut(Point::Greeting);
        let credentials = Credentials::new("new", "canary");
        let endpoint = plumbing::endpoint(&work.pool).with_credentials(&credentials);
        let pools = vec![(work.pool.clone(), endpoint)];
        let _rotation = plumbing::put_in_place(pools, DrainRules::default());
        let mut older = Box::pin(work.pool.get());
        let mut younger = Box::pin(work.pool.get());
        assert!(poll!(&mut older).is_pending() && poll!(&mut younger).is_pending());
        work.server.gates.open(Point::Greeting);
        quiet().await;
        assert_eq!(work.pool.status().idle, 1);
        assert!(poll!(&mut younger).is_pending());
        drop(older);
        drop(timeout(AT_ONCE, younger).await.unwrap().unwrap());
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
}

async fn query(conn: &mut AsyncPgConnection) -> diesel::QueryResult<i32> {
    diesel::dsl::sql::<Integer>("select 7")
        .get_result(conn)
        .await
}

/// Failure case F1: statements by name and by text, a transaction within another, a setting.
#[test]
fn work_of_every_kind() {
    let rounds = dropped_everywhere(
        |size| warm(sized(size)),
        async |work| {
            let callers = several(work.pool.status().max).map(async |_| {
                let mut conn = work.pool.get().await.unwrap();
                assert_eq!(query(&mut conn).await.unwrap(), 7);
                let transaction = conn.transaction(async |conn| {
                    query(conn).await?;
                    conn.batch_execute("update t set v = 1").await?;
                    query(conn).await
                });
                assert_eq!(transaction.await.unwrap(), 7);
                conn.batch_execute("set lock_timeout = 5").await.unwrap();
            });
            join_all(callers).await
        },
    );
    assert!(rounds >= 12 * POOLS, "{rounds}");
}

/// req 4.46: either the old or the new credentials are in place, and nothing of the proof is left.
#[test]
fn a_rotation() {
    let rounds = dropped_everywhere(
        |size| Round {
            beside: 1,
            ..warm(sized(size))
        },
        async |work| {
            let held = work.pool.get().await.unwrap();
            let rotation = work.pool.rotate(Credentials::new("new", "canary")).await;
            drop(held);
            rotation.unwrap().drained().await;
        },
    );
    assert!(rounds >= 7 * POOLS, "{rounds}");
}

#[test]
fn a_probe_of_the_server() {
    let rounds = dropped_everywhere(
        |size| Round {
            beside: 1,
            ..warm(sized(size))
        },
        async |work| {
            let answer = crate::plumbing::probe(&work.pool, AT_ONCE).await;
            answer.unwrap().unwrap();
        },
    );
    assert!(rounds >= 2 * POOLS, "{rounds}");
}

/// If no connection is idle, the probe opens its own session, which the next probe uses too.
#[test]
fn a_probe_of_a_full_pool() {
    let rounds = dropped_everywhere(
        |size| Round {
            beside: 1,
            ..warm(sized(size))
        },
        async |work| {
            let held = work.all().await;
            for _ in 0..2 {
                let answer = crate::plumbing::probe(&work.pool, AT_ONCE).await;
                answer.unwrap().unwrap();
            }
            drop(held);
        },
    );
    assert!(rounds >= 3 * POOLS, "{rounds}");
}

/// A listener that is dropped before it has heard anything, one that is dropped later, and one that meets a
/// rotation.
#[test]
fn a_listener() {
    let rounds = dropped_everywhere(
        |size| Round {
            beside: 2,
            ..warm(sized(size))
        },
        async |work| {
            let channels = ["orders".to_owned()];
            let mut listener = crate::plumbing::listen(&work.pool, &channels).unwrap();
            let beginning = listener.next().await.unwrap().unwrap();
            assert_eq!(beginning, Heard::Gap(Gap::Beginning));
            let rotation = work.pool.rotate(Credentials::new("new", "canary")).await;
            rotation.unwrap().drained().await;
            let again = listener.next().await.unwrap().unwrap();
            assert_eq!(again, Heard::Gap(Gap::Reconnected));
        },
    );
    assert!(rounds >= 4 * POOLS, "{rounds}");
}

/// A detached connection frees its place, whatever happens to it.
#[test]
fn a_connection_that_is_detached() {
    let rounds = dropped_everywhere(
        |size| Round {
            beside: 1,
            ..warm(sized(size))
        },
        async |work| {
            let mut detached = work.pool.get().await.unwrap().detach();
            assert_eq!(work.pool.status().open, work.pool.status().max - 1);
            assert_eq!(query(&mut detached).await.unwrap(), 7);
            drop(work.all().await);
        },
    );
    assert!(rounds >= 2 * POOLS, "{rounds}");
}

#[test]
fn a_warm_up() {
    let rounds = dropped_everywhere(
        |size| {
            let mut profile = sized(size);
            profile.min_idle = size;
            cold(profile)
        },
        async |work| assert!(work.pool.warm_up(Duration::from_secs(1)).await),
    );
    assert!(rounds >= 2 * POOLS, "{rounds}");
}

/// case R11
#[test]
fn a_close() {
    let rounds = dropped_everywhere(
        |size| warm(sized(size)),
        async |work| {
            let held = work.pool.get().await.unwrap();
            let returning = async {
                quiet().await;
                drop(held);
            };
            tokio::join!(work.pool.close(Duration::from_secs(1)), returning)
        },
    );
    assert!(rounds >= 2 * POOLS, "{rounds}");
}

/// Opening a pool that waits for its first connection: nothing is left if the opening is dropped.
#[test]
fn the_opening_of_a_pool() {
    let mut rounds = 0;
    let mut finished = false;
    while !finished {
        rounds += 1;
        on_paused_clock(async {
            let server = Server::start();
            server.politeness.store(1, Ordering::Relaxed);
            let opening = Pool::connect(server.endpoint(), sized(2));
            finished = polled(rounds, opening).await.is_some();
            let dropped = Instant::now();
            while Handle::current().metrics().num_alive_tasks() > 0 {
                assert!(dropped.elapsed() < AT_ONCE, "after {rounds} polls");
                quiet().await;
            }
            assert!(server.facts().live.is_empty());
        });
    }
    assert!(rounds > 1, "{rounds}");
}
