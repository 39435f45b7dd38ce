//! A server that goes away and comes back: when callers learn of it, and how often the pool asks the server.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use tokio::time::{Instant, sleep};

use super::Point;
use super::session::FRESH;
use super::workplace::{Workplace, ms, on_paused_clock, quiet, sized, timed};
use crate::connect::breaker::Breaker;
use crate::connect::connect_error::ConnectFailure;
use crate::error::PoolError;
use crate::profile::PoolProfile;

const STARTING_UP: &str = "57P03";

fn patient(max: u32) -> PoolProfile {
    let mut profile = sized(max);
    profile.checkout_timeout = ms(60_000);
    profile
}

/// case R05: the first caller after an outage of five seconds gets a connection within two seconds, and never
/// one that was idle when the server went away. This holds whether or not somebody has waited all the time, and
/// for any moment at which the server is back.
#[test]
fn a_server_that_is_back_is_found_within_two_seconds() {
    for (min_idle, waits) in [(0, false), (0, true), (3, false), (3, true)] {
        for later in (0..2_000).step_by(97) {
            on_paused_clock(async {
                let mut profile = patient(3);
                profile.min_idle = min_idle;
                profile.reconnect.attempts = 1_000;
                let work = Workplace::new(profile);
                drop(work.all().await);
                work.server.stop();
                // The pool checks a socket only once its connection has been idle for a millisecond.
                quiet().await;
                let waiting = waits.then(|| tokio::spawn(work.pool.get()));
                sleep(ms(5_000 + later)).await;
                work.server.resume();
                let back = Instant::now();
                let mut first = match waiting {
                    Some(waiting) => waiting.await.unwrap().unwrap(),
                    None => work.pool.get().await.unwrap(),
                };
                first.batch_execute(FRESH).await.unwrap();
                assert!(back.elapsed() < ms(2_000), "{:?}", back.elapsed());
                drop(first);
                sleep(ms(2_000)).await;
                work.comes_to_rest().await;
                work.is_whole(0).await;
            });
        }
    }
}

/// A cold pool logs in for eight callers at once; after an outage, for one and then for more.
#[test]
fn a_cold_pool_logs_in_for_eight_callers_at_once() {
    on_paused_clock(async {
        let work = Workplace::new(patient(12));
        for at_once in [8, 1] {
            work.server.gates.shut(Point::Startup);
            let callers: Vec<_> = (0..20).map(|_| tokio::spawn(work.pool.get())).collect();
            sleep(ms(1_000)).await;
            assert_eq!(work.server.gates.arrived(Point::Startup), at_once);
            work.server.gates.open_all();
            for caller in callers {
                drop(caller.await.unwrap().unwrap());
            }
            // All connections end, and the next login is refused.
            work.server.stop();
            sleep(ms(10)).await;
            let refused = tokio::spawn(work.pool.get());
            sleep(ms(10)).await;
            assert!(work.pool.status().connects.failed > 0);
            refused.abort();
            work.server.resume();
        }
        sleep(ms(5_000)).await;
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
}

/// case R08: the pool asks a server that takes three seconds to start at most ten times, however many callers
/// wait. Each waiting caller has a connection at most a second later.
#[test]
fn a_server_that_starts_up_is_asked_now_and_then() {
    for (callers, min_idle) in [(0, 5), (1, 0), (1, 5), (50, 5)] {
        on_paused_clock(async {
            let mut profile = patient(5);
            profile.min_idle = min_idle;
            let work = Workplace::new(profile);
            work.server.facts().refusal = Some(STARTING_UP);
            let waiting: Vec<_> = (0..callers)
                .map(|_| tokio::spawn(work.pool.get()))
                .collect();
            sleep(ms(3_000)).await;
            let asked = work.server.facts().logins.len();
            assert!((2..=10).contains(&asked), "{asked} times");
            work.server.facts().refusal = None;
            let began = Instant::now();
            for caller in waiting {
                drop(caller.await.unwrap().unwrap());
            }
            assert!(began.elapsed() <= ms(1_000), "{:?}", began.elapsed());
            // Nobody waits, so the delay has doubled meanwhile.
            sleep(ms(8_000)).await;
            assert!(work.pool.status().open >= min_idle);
            work.comes_to_rest().await;
            work.is_whole(0).await;
        });
    }
}

/// req 0.09, req 0.10, req 2.37: callers wait while ten attempts fail, get an error at once from then on, and
/// get a connection again within a second after the server is back.
#[test]
fn an_open_breaker_tells_at_once_and_closes_soon() {
    for later in (0..1_000).step_by(97) {
        on_paused_clock(async {
            let work = Workplace::new(patient(3));
            work.server.facts().refusal = Some(STARTING_UP);
            let (waited, others) = tokio::join!(
                timed(work.pool.get()),
                futures_util::future::join_all((0..9).map(|_| timed(work.pool.get())))
            );
            // Three attempts are refused together at the start, and count as one failure.
            let attempts = work.pool.profile().reconnect.attempts as usize + 2;
            assert_eq!(work.server.facts().logins.len(), attempts);
            assert_eq!(work.pool.status().breaker, Breaker::Open);
            for (outcome, took) in others.into_iter().chain([waited]) {
                let PoolError::Connect { source, .. } = outcome.unwrap_err() else {
                    panic!("it says why it cannot connect");
                };
                assert_eq!(source.failure(), ConnectFailure::Unavailable);
                let delays = (ms(500) * 9, ms(1_000) * 9 + ms(20));
                assert!(took >= delays.0 && took <= delays.1, "{took:?}");
            }
            // Now and then a caller that comes when an attempt is due makes one. Nobody else waits.
            let asked = work.server.facts().logins.len();
            for _ in 0..100 {
                let (outcome, took) = timed(work.pool.get()).await;
                assert!(outcome.is_err());
                assert_eq!(took, Duration::ZERO);
                sleep(ms(100)).await;
            }
            let asked = work.server.facts().logins.len() - asked;
            assert!((9..=21).contains(&asked), "{asked} times in ten seconds");

            sleep(ms(later)).await;
            work.server.facts().refusal = None;
            let back = Instant::now();
            while let Err(refused) = work.pool.get().await {
                assert!(matches!(refused, PoolError::Connect { .. }), "{refused}");
                assert!(back.elapsed() <= ms(1_050), "{:?}", back.elapsed());
                sleep(ms(10)).await;
            }
            assert_eq!(work.pool.status().breaker, Breaker::Closed);
            work.comes_to_rest().await;
            work.is_whole(0).await;
        });
    }
}
