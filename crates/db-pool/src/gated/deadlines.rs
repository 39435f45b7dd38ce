//! Deadlines to the millisecond, at every point where the server may be silent.

use std::time::Duration;

use db_config::Credentials;
use diesel::sql_types::Integer;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Point::{
    self, Accepting, Cancel, Cancelled, Closing, Detection, Greeting, Ping, Reset, Rest, Startup,
    Statement,
};
use super::server::Server;
use super::workplace::{Workplace, ms, on_paused_clock, quiet, sized, timed};
use crate::checkout::connection::Connection;
use crate::checkout::diagnosis::Diagnosis;
use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::connect::stage::ConnectStage;
use crate::error::PoolError;
use crate::pool::Pool;

const DIALLING: [(Point, ConnectStage); 4] = [
    (Accepting, ConnectStage::Socket),
    (Startup, ConnectStage::Login),
    (Greeting, ConnectStage::Login),
    (Detection, ConnectStage::SetUp),
];

/// Asserts that a caller with this much patience gets an error exactly then. Returns the diagnosis in the error.
async fn times_out(pool: &Pool, patience: Duration) -> Diagnosis {
    let (refused, took) = timed(pool.get_timeout(patience)).await;
    let PoolError::Timeout {
        waited, diagnosis, ..
    } = refused.unwrap_err()
    else {
        panic!("it is a timeout");
    };
    assert_eq!((took, waited), (patience, patience), "{diagnosis}");
    *diagnosis
}

fn at_any_patience(test: impl AsyncFn(Duration)) {
    for patience in [0, 1, 2, 49, 50, 999, 1_000, 3_001] {
        on_paused_clock(test(ms(patience)));
    }
}

/// case R01: a caller waits in the queue.
#[test]
fn a_caller_waits_in_the_queue_as_long_as_it_says() {
    at_any_patience(async |patience| {
        let work = Workplace::new(sized(1));
        let held = work.pool.get().await.unwrap();
        times_out(&work.pool, patience).await;
        drop(held);
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
}

/// case R01, case F8: a caller waits for a connection that is being made, for itself or for a caller that has
/// gone.
#[test]
fn a_caller_waits_for_a_login_as_long_as_it_says() {
    at_any_patience(async |patience| {
        for (point, _stage) in DIALLING {
            let work = Workplace::new(sized(2));
            work.server.gates.shut(point);
            for _ in 0..2 {
                let diagnosis = times_out(&work.pool, patience).await;
                let expected = Diagnosis::Connecting { dialling: 1 };
                let unreachable = Diagnosis::Unreachable {
                    failure: ConnectFailure::TimedOut,
                };
                let words = [expected, unreachable].map(|known| known.to_string());
                assert!(words.contains(&diagnosis.to_string()), "{diagnosis}");
            }
            work.comes_to_rest().await;
            work.is_whole(0).await;
        }
    });
}

/// case F9: a caller waits for the answer to a ping.
#[test]
fn a_caller_waits_for_a_ping_as_long_as_it_says() {
    at_any_patience(async |patience| {
        let mut profile = sized(1);
        profile.validate_after = Duration::ZERO;
        profile.validation_timeout = ms(4_000);
        let work = Workplace::new(profile);
        drop(work.all().await);
        work.server.gates.shut(Ping);
        let diagnosis = times_out(&work.pool, patience).await;
        let silent = matches!(diagnosis, Diagnosis::Silent { unanswered: 1 });
        assert!(silent || patience.is_zero(), "{diagnosis}");
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
}

fn hung(outcome: Result<(), PoolError>) -> ConnectError {
    match outcome.unwrap_err() {
        PoolError::Connect { source, .. } => source,
        other => panic!("{other}"),
    }
}

/// case F8: connecting that hangs anywhere ends after `connect_timeout`, and says where it hung.
#[test]
fn a_hung_connect_ends_at_its_deadline_and_names_its_stage() {
    for (point, stage) in DIALLING {
        on_paused_clock(async {
            let mut profile = sized(1);
            profile.connect_timeout = ms(1_234);
            let work = Workplace::new(profile);
            work.server.gates.shut(point);
            let rotating = work.pool.rotate(Credentials::new("new", "canary"));
            let (outcome, took) = timed(rotating).await;
            let error = hung(outcome.map(drop));
            assert_eq!(took, ms(1_234), "{error}");
            assert_eq!(
                (error.failure(), error.stage()),
                (ConnectFailure::TimedOut, stage)
            );
            quiet().await;
            // Only the server's session and the keeper are left.
            let sessions = work.server.facts().live.len();
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 1 + sessions);

            // The same holds when the pool connects, and the next attempt does not need the place of the last
            // one.
            let callers = Instant::now();
            let mut caller = Box::pin(work.pool.get());
            while work.pool.status().connects.failed == 0 {
                tokio::select! {
                    got = &mut caller => panic!("{got:?}"),
                    () = quiet() => {}
                }
            }
            let failed = callers.elapsed();
            assert!((ms(1_234)..=ms(1_236)).contains(&failed), "{failed:?}");
            work.server.gates.open_all();
            drop(caller.await.unwrap());
            let base = work.pool.profile().reconnect.base_delay;
            assert!(callers.elapsed() <= ms(1_236) + base);
            work.comes_to_rest().await;
            work.is_whole(2).await;
        });
    }
}

/// req 3.12: opening a pool on a silent server fails after five seconds.
#[test]
fn a_pool_waits_five_seconds_for_its_first_connection() {
    for (point, _stage) in DIALLING {
        on_paused_clock(async {
            let server = Server::start();
            server.gates.shut(point);
            let opening = Pool::connect(server.endpoint(), sized(1));
            let (outcome, took) = timed(opening).await;
            let refused = outcome.unwrap_err();
            assert!(matches!(refused, PoolError::Connect { .. }), "{refused}");
            assert_eq!(took, ms(5_000));
        });
    }
}

/// Begins a statement that the server does not answer, and drops the statement and the connection.
async fn leave_busy(mut conn: Connection) {
    let statement = conn.batch_execute("select 1");
    tokio::select! {
        biased;
        _answer = statement => panic!("it is held back"),
        () = quiet() => {}
    }
}

/// How long it takes until the place of a lost connection is free: a waiting caller gets a connection then.
#[test]
fn the_place_of_a_lost_connection_is_free_in_time() {
    let altered = async |mut conn: Connection| {
        conn.batch_execute("set lock_timeout = 5").await.unwrap();
    };
    for (gates, bound) in [
        // The server does not hang up.
        (&[Statement, Closing][..], 5_000),
        // The server takes no cancel request, or takes it and does nothing.
        (&[Statement, Accepting], 5_000),
        (&[Statement, Cancel], 5_000),
        // The cancelled statement goes on.
        (&[Statement, Cancelled], 5_000),
        // The server does what it is asked, so nothing waits.
        (&[Statement], 0),
    ] {
        on_paused_clock(async {
            let mut profile = sized(1);
            profile.checkout_timeout = ms(20_000);
            let work = Workplace::new(profile);
            let conn = work.pool.get().await.unwrap();
            gates.iter().for_each(|gate| work.server.gates.shut(*gate));
            leave_busy(conn).await;
            let left = Instant::now();
            let listener = work.pool.shared().registry.changes.listen();
            let freed = listener.next();
            let mut next = Box::pin(work.pool.get());
            assert!(futures_util::poll!(&mut next).is_pending());
            // The caller stands in the queue, because the permit is tied to the place.
            assert_eq!(work.pool.status().waiting, 1);
            freed.await;
            assert_eq!(left.elapsed(), ms(bound), "{gates:?}");
            quiet().await;
            // The socket is closed, whatever the server does. The tasks left are the keeper, sessions and
            // requests.
            let requests = usize::from(gates.contains(&Cancel));
            let sessions = work.server.facts().live.len() + requests;
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 1 + sessions);
            work.server.gates.open_all();
            drop(next.await.unwrap());
            work.comes_to_rest().await;
        });
    }
    // The pool waits up to a quarter of a second for an answer that is still arriving.
    on_paused_clock(async {
        let mut profile = sized(1);
        profile.checkout_timeout = ms(20_000);
        let work = Workplace::new(profile);
        let mut conn = work.pool.get().await.unwrap();
        work.server.gates.shut(Rest);
        let row = diesel::dsl::sql::<Integer>("select 7").get_result::<i32>(&mut conn);
        assert_eq!(row.await, Ok(7));
        drop(conn);
        let (next, took) = timed(work.pool.get()).await;
        assert_eq!(took, ms(250 + 5_000));
        drop(next.unwrap());
        assert_eq!(work.pool.status().closed.discarded, 1);
    });
    // A session that is not reset within two seconds is cancelled and closed.
    on_paused_clock(async {
        let work = Workplace::new(sized(1));
        altered(work.pool.get().await.unwrap()).await;
        work.comes_to_rest().await;
        work.server.gates.shut(Reset);
        altered(work.pool.get().await.unwrap()).await;
        let (next, took) = timed(work.pool.get()).await;
        assert_eq!(took, ms(2_000));
        drop(next.unwrap());
        work.comes_to_rest().await;
        work.is_whole(0).await;
    });
    // A connection that does not answer its ping gets another half second to say goodbye.
    on_paused_clock(async {
        let mut profile = sized(1);
        profile.checkout_timeout = ms(20_000);
        profile.validate_after = ms(100);
        profile.validation_timeout = ms(700);
        let work = Workplace::new(profile);
        drop(work.all().await);
        tokio::time::advance(ms(100)).await;
        work.server.gates.shut(Ping);
        let (next, took) = timed(work.pool.get()).await;
        assert_eq!(took, ms(700 + 500));
        drop(next.unwrap());
    });
}

/// A silent host gets its share of the time, and leaves the next host enough. From then on, the pool asks the
/// host that answered first.
#[test]
fn a_silent_host_has_its_share_of_the_connect_timeout() {
    for point in [Accepting, Startup, Greeting] {
        on_paused_clock(async {
            let (silent, other) = (Server::start(), Server::start());
            silent.gates.shut(point);
            let mut endpoint = silent.endpoint();
            endpoint.hosts.extend(other.endpoint().hosts);
            let mut profile = sized(2);
            profile.connect_timeout = ms(3_000);
            profile.checkout_timeout = ms(3_000);
            let pool = Pool::connect_lazy(endpoint, profile);
            let (first, took) = timed(pool.get()).await;
            assert_eq!(took, ms(1_500), "{first:?}");
            let (second, took) = timed(pool.get()).await;
            assert_eq!(took, Duration::ZERO, "{second:?}");
            assert_eq!(other.facts().live.len(), 2);
        });
    }
}
