//! Futures of the pool dropped at every await: no place is lost, and nothing is left behind.
//!
//! Each round polls a future once more than the round before, and then drops it, until a round lets it
//! finish. `wire/cancelling.rs` drops the futures of `Database` in the same way.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use app_db::{Credentials, Pool, PoolProfile};
use harness::TestDatabase;

use crate::at_rest::{open, watched};
use crate::pool::{sized, url};

/// Polls a future at most `times` times, and then drops it.
pub(crate) async fn polled<F: Future>(times: u32, future: F) -> Option<F::Output> {
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

/// Drops the future of `begin` on a new pool after one poll, then after two, and so on until it finishes.
/// Each time the pool must be whole afterwards. Returns the number of rounds.
async fn dropped_everywhere<T>(
    db: &TestDatabase,
    profile: PoolProfile,
    begin: impl AsyncFn(&Pool) -> T,
) -> u32 {
    for polls in 1..200 {
        let handle = Pool::connect_lazy(url(&db.url()), profile.clone());
        let pool = watched(db, handle.clone());
        let finished = polled(polls, begin(&pool)).await.is_some();
        pool.rests().await;
        let status = handle.status();
        assert_eq!(status.closed.discarded, 0, "{status} after {polls} polls");
        if finished {
            return polls;
        }
    }
    panic!("it never finished");
}

/// case F6: a first connection is made and kept, even if nobody waits for it any more.
#[tokio::test]
async fn a_checkout_that_connects_may_be_dropped_anywhere() {
    let db = TestDatabase::empty().await.unwrap();
    let rounds = dropped_everywhere(&db, sized(2), async |pool| {
        drop(pool.get().await.unwrap());
    })
    .await;
    assert!(rounds > 1, "{rounds} rounds");
}

/// case F9: if nobody waits for a ping any more, its connection is not handed out during the ping, and its
/// place is not lost.
#[tokio::test]
async fn a_checkout_that_asks_for_a_sign_of_life_may_be_dropped_anywhere() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(1);
    profile.validate_after = Duration::ZERO;
    let mut dropped = 0;
    for polls in 1..50 {
        let pool = open(&db, profile.clone()).await;
        let finished = polled(polls, pool.get()).await.is_some();
        pool.rests().await;
        if finished {
            break;
        }
        dropped += 1;
    }
    assert!((1..49).contains(&dropped), "{dropped} were dropped");
}

/// case R01, case F11: a caller who leaves the queue, at whatever moment, takes nobody's turn along.
#[tokio::test]
async fn a_checkout_that_waits_may_be_dropped_anywhere() {
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, sized(1)).await;
    for polls in 1..20 {
        let held = pool.get().await.unwrap();
        let leaving = async { drop(polled(polls, pool.get()).await) };
        let returning = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        let staying = async { drop(pool.get().await.unwrap()) };
        tokio::join!(leaving, returning, staying);
        pool.comes_to_rest().await;
        let status = pool.status();
        assert_eq!(
            (status.open, status.connects.opened),
            (1, 1),
            "{status} after {polls} polls"
        );
    }
    pool.rests().await;
}

/// req 4.46: either the old credentials are in place or the new ones, and nothing of the proof is left.
#[tokio::test]
async fn a_rotation_may_be_dropped_anywhere() {
    let db = TestDatabase::empty().await.unwrap();
    let credentials = || Credentials::new(db.role().name(), db.password());
    let rounds = dropped_everywhere(&db, sized(2), async |pool| {
        pool.rotate(credentials()).await.unwrap().drained().await;
    })
    .await;
    assert!(rounds > 1, "{rounds} rounds");
}

/// case R11: a close closes the pool even if nobody waits for it any more.
#[tokio::test]
async fn a_close_may_be_dropped_anywhere() {
    let db = TestDatabase::empty().await.unwrap();
    for polls in 1..50 {
        let pool = open(&db, sized(2)).await;
        let held = pool.get().await.unwrap();
        let closed = polled(polls, pool.close(Duration::ZERO)).await;
        let refused = pool.get().await.unwrap_err();
        assert_eq!(refused.kind(), app_db::Kind::ShuttingDown);
        drop(held);
        pool.rests().await;
        if closed.is_some() {
            return;
        }
    }
    panic!("it never finished");
}
