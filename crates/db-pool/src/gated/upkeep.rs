//! What happens to a pool over minutes: age, idleness, losses, another size.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use tokio::time::{Instant, sleep};

use super::session::FRESH;
use super::workplace::{Workplace, ms, on_paused_clock, quiet, sized, timed};

fn seconds(seconds: u64) -> Duration {
    ms(1_000 * seconds)
}

/// case R09: twenty connections that are made together end one after the other within the last quarter of their
/// lifetime. A connection in use is not closed. Each is replaced if it is needed, and there are never more than
/// twenty.
#[test]
fn connections_that_begin_together_do_not_end_together() {
    for min_idle in [0, 19] {
        on_paused_clock(async {
            let lifetime = seconds(1_000);
            let mut profile = sized(20);
            profile.min_idle = min_idle;
            profile.max_lifetime = Some(lifetime);
            let work = Workplace::new(profile);
            let made = Instant::now();
            let mut held = work.all().await.pop().unwrap();
            let status = work.pool.status();
            assert_eq!(
                (status.open, status.connects.opened),
                (20, 20),
                "{status:?}"
            );

            sleep(lifetime + seconds(2)).await;
            held.batch_execute(FRESH).await.unwrap();
            let ends: Vec<_> = work
                .server
                .facts()
                .ends
                .iter()
                .map(|(_, at)| *at - made)
                .collect();
            // None of the later connections has reached its end yet.
            assert_eq!(ends.len(), 19);
            let (first, last) = (ends[0], ends[18]);
            assert!(
                first >= lifetime * 3 / 4 && last <= lifetime + seconds(1),
                "{ends:?}"
            );
            assert!(last - first >= lifetime / 10, "{ends:?}");
            let together = ends.chunk_by(|one, next| *next - *one < seconds(1));
            let most = together.map(<[_]>::len).max();
            assert!(most <= Some(6), "{ends:?}");

            drop(held);
            quiet().await;
            let status = work.pool.status();
            assert_eq!((status.closed.by_age, status.closed.discarded), (20, 0));
            assert_eq!(status.open, min_idle, "{status:?}");
            work.comes_to_rest().await;
            work.is_whole(0).await;
        });
    }
}

/// case R10: after a burst the pool shrinks to `min_idle` and not below, and grows with the next burst.
#[test]
fn idle_connections_end_down_to_min_idle() {
    on_paused_clock(async {
        let mut profile = sized(6);
        profile.min_idle = 2;
        profile.idle_timeout = Some(seconds(30));
        let work = Workplace::new(profile);
        for burst in 1..=3 {
            let held = work.all().await;
            sleep(seconds(100)).await;
            // No connection is idle while all are in use.
            assert_eq!(work.pool.status().open, 6);
            drop(held);
            let returned = Instant::now();
            sleep(ms(29_999)).await;
            assert_eq!(work.pool.status().open, 6);
            sleep(ms(1_001)).await;
            assert_eq!(work.pool.status().open, 2);
            let at = work.server.facts().ends.last().unwrap().1;
            assert!(at - returned >= seconds(30));
            sleep(seconds(300)).await;
            let status = work.pool.status();
            assert_eq!((status.open, status.closed.by_idle_timeout), (2, 4 * burst));
            // The kept connections are the old ones, and not new ones.
            assert_eq!(status.connects.opened, 6 + 4 * (burst - 1));
        }
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
}

/// The keeper replaces lost connections as soon as it hears of the loss, without a caller.
#[test]
fn lost_connections_are_replaced_at_once() {
    on_paused_clock(async {
        let mut profile = sized(4);
        profile.min_idle = 3;
        let work = Workplace::new(profile);
        assert!(work.pool.warm_up(seconds(1)).await);
        let began = Instant::now();
        for _ in 0..3 {
            work.pool.get().await.unwrap().discard();
        }
        quiet().await;
        assert_eq!(work.pool.status().idle, 3);
        assert_eq!(began.elapsed(), ms(1));
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
}

/// case R18: a waiting caller gets a connection as soon as the pool may have one more.
#[test]
fn a_pool_that_grows_lets_in_who_waits() {
    on_paused_clock(async {
        let work = Workplace::new(sized(1));
        let held = work.pool.get().await.unwrap();
        let waiting = tokio::spawn(work.pool.get());
        quiet().await;
        assert_eq!(work.pool.status().waiting, 1);
        work.pool.resize(2).unwrap();
        let (served, took) = timed(waiting).await;
        assert_eq!(took, Duration::ZERO);
        drop((served.unwrap().unwrap(), held));
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
}
