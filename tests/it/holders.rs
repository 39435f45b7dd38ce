//! Holders of a pool's connections: long holds, dirty returns, nested checkouts, and what a timeout says
//! about them.

mod diagnosis;
mod nested;

use db_pool::plumbing;
use std::time::Duration;

use app_db::{Pool, PoolProfile};
use diesel::QueryResult;
use diesel::sql_types::{Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{TestDatabase, wait_until};
use tokio::time::timeout;

use crate::SOON;
use crate::at_rest::open;
use crate::database::Log;
use crate::pool::{sized, url};

/// A pool whose holders are impatient about each other.
fn impatient(max: u32, leak_threshold: Duration) -> PoolProfile {
    let mut profile = sized(max);
    profile.leak_threshold = Some(leak_threshold);
    profile.checkout_timeout = Duration::from_millis(300);
    profile
}

/// A statement with a value that no event and no error may show.
async fn with_canary(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    diesel::sql_query("select length($1)")
        .bind::<Text, _>("valuecanary")
        .execute(&mut *conn)
        .await?;
    diesel::dsl::sql::<Integer>("select length('literalcanary')")
        .get_result(conn)
        .await
}

impl Log {
    /// The lines with a message; there may be other words around it.
    fn saying(&self, message: &str) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| line.contains(message));
        lines.map(str::to_owned).collect()
    }
}

/// Whether each of these words stands in the line.
#[track_caller]
fn has(line: &str, words: &[&str]) {
    for word in words {
        assert!(line.contains(word), "{word} in {line}");
    }
}

fn held_ms(line: &str) -> u64 {
    let (_, rest) = line.split_once("held_ms=").unwrap();
    let digits = rest.split(|char: char| !char.is_ascii_digit()).next();
    digits.unwrap().parse().unwrap()
}

fn here(line: u32) -> String {
    format!("call_site=tests/it/holders.rs:{line}:")
}

const LONG: &str = "a connection is held for long";
const DIRTY: &str = "a connection came back dirty and is closed";
const GIVEN_UP: &str = "a connection was given up in the middle of its work and is closed";

/// case R14, req 3.03: a hold beyond the threshold is reported once, with its source line, and its holder
/// keeps the connection.
#[tokio::test]
async fn a_connection_held_for_long_is_reported_once_and_works_on() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let threshold = Duration::from_millis(200);
    let pool = open(&db, impatient(2, threshold)).await;
    let (mut leaked, line) = (pool.get().await.unwrap(), line!());
    let pid = leaked.backend_pid();
    with_canary(&mut leaked).await.unwrap();
    assert_eq!(pool.status().long_holds, 0);
    wait_until("it is reported", SOON, async || {
        pool.status().long_holds == 1
    })
    .await;
    let reports = log.saying(LONG);
    assert_eq!(reports.len(), 1, "{reports:#?}");
    has(
        &reports[0],
        &[
            "WARN app_db::pool",
            "pool=\"pool\"",
            &here(line),
            "transaction=\"none\"",
            "statement=\"select length(…\"",
        ],
    );
    assert!(!reports[0].contains("running_ms"), "{}", reports[0]);
    assert!(held_ms(&reports[0]) >= 200, "{}", reports[0]);

    // The keeper looks every 50 ms: by the time of the second report it has looked at the first hold again.
    let (mut second, line_of_second) = (pool.get().await.unwrap(), line!());
    second.batch_execute("begin; select 1").await.unwrap();
    wait_until("the second one is reported", SOON, async || {
        pool.status().long_holds == 2
    })
    .await;
    let reports = log.saying(LONG);
    assert_eq!(reports.len(), 2, "{reports:#?}");
    has(
        &reports[1],
        &[
            &here(line_of_second),
            "transaction=\"open\"",
            "statement=\"begin; select 1\"",
        ],
    );
    second.batch_execute("rollback").await.unwrap();
    drop(second);

    assert_eq!(with_canary(&mut leaked).await, Ok(13));
    drop(leaked);
    let returns = log.saying("held for long has come back");
    assert_eq!(returns.len(), 2, "{returns:#?}");
    has(
        &returns[1],
        &["INFO app_db::pool", &here(line), "pool=\"pool\""],
    );
    assert!(held_ms(&returns[1]) > held_ms(&reports[0]), "{returns:#?}");
    assert_eq!(pool.get().await.unwrap().backend_pid(), pid);
    assert_eq!(pool.status().closed.discarded, 0);
    let text = log.text();
    let events: Vec<_> = text
        .lines()
        .filter(|line| line.contains("app_db::"))
        .collect();
    assert!(!events.is_empty());
    for secret in ["valuecanary", "literalcanary", &db.password()] {
        let shows = events.iter().find(|line| line.contains(secret));
        assert_eq!(shows, None);
    }
    pool.rests().await;
}

/// case R14: what runs is shown while it runs.
#[tokio::test]
async fn a_long_statement_is_shown_while_it_runs() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let threshold = Duration::from_millis(200);
    let pool = open(&db, impatient(1, threshold)).await;
    let mut conn = pool.get().await.unwrap();
    let running = diesel::sql_query("select pg_sleep(60), $1")
        .bind::<Text, _>("valuecanary")
        .execute(&mut conn);
    let reported = wait_until("it is reported", SOON, async || {
        pool.status().long_holds == 1
    });
    tokio::select! {
        outcome = running => panic!("{outcome:?}"),
        () = reported => {}
    }
    let reports = log.saying(LONG);
    has(
        &reports[0],
        &["running_ms=", "statement=\"select pg_sleep(60), $1\""],
    );
    assert!(!reports[0].contains("valuecanary"), "{}", reports[0]);
    drop(conn);
    pool.rests().await;
}

/// A threshold of none reports nothing, however short it is otherwise.
#[tokio::test]
async fn without_a_threshold_no_hold_is_long() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(1);
    profile.leak_threshold = None;
    // The keeper looks every 50 ms, which shows in what it does with idle connections.
    profile.idle_timeout = Some(Duration::from_millis(200));
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    wait_until("the keeper has looked", SOON, async || {
        pool.status().closed.by_idle_timeout == 1
    })
    .await;
    let other = Pool::connect(url(&db.url()), impatient(1, Duration::from_millis(100)))
        .await
        .unwrap();
    let (_held, _held_too) = (pool.get().await.unwrap(), other.get().await.unwrap());
    wait_until("the other pool has reported", SOON, async || {
        other.status().long_holds == 1
    })
    .await;
    assert_eq!(pool.status().long_holds, 0);
    assert_eq!(log.saying(LONG).len(), 1);
}

/// case R31: a connection that comes back in a transaction or at work is closed, counted, and logged with
/// the source line that had it.
#[tokio::test]
async fn a_dirty_connection_is_closed_with_the_line_that_left_it() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let pool = open(&db, sized(1)).await;

    let (mut conn, begun) = (pool.get().await.unwrap(), line!());
    conn.batch_execute("begin").await.unwrap();
    drop(conn);
    let (mut conn, saved) = (pool.get().await.unwrap(), line!());
    conn.batch_execute("begin; savepoint a").await.unwrap();
    let pid = conn.backend_pid();
    drop(conn);
    let (mut conn, abandoned) = (pool.get().await.unwrap(), line!());
    let sleeping = diesel::sql_query("select pg_sleep(60), $1")
        .bind::<Text, _>("valuecanary")
        .execute(&mut conn);
    timeout(Duration::from_millis(100), sleeping)
        .await
        .unwrap_err();
    drop(conn);
    let mut clean = pool.get().await.unwrap();
    clean.batch_execute("select 1").await.unwrap();
    drop(clean);

    let status = pool.status();
    assert_eq!((status.closed.dirty, status.closed.discarded), (3, 3));
    let reports = log.saying(DIRTY);
    assert_eq!(reports.len(), 2, "{reports:#?}");
    let expected = [(begun, "in_transaction"), (saved, "in_transaction")];
    for (report, (line, reason)) in reports.iter().zip(expected) {
        let reason = format!("reason=\"{reason}\"");
        has(
            report,
            &["WARN app_db::pool", "pool=\"pool\"", &here(line), &reason],
        );
    }
    has(
        &reports[1],
        &[&format!("backend_pid={pid}"), "generation=1"],
    );
    // A future that is dropped in the middle of a statement means that a client has hung up, which is no
    // mistake.
    let given_up = log.saying(GIVEN_UP);
    assert_eq!(given_up.len(), 1, "{given_up:#?}");
    has(
        &given_up[0],
        &["DEBUG app_db::pool", &here(abandoned), "reason=\"busy\""],
    );
    // Each is logged once. An end that is nobody's fault is logged only at level DEBUG.
    assert!(log.saying("a connection is closed").is_empty());
    assert!(
        !log.text()
            .lines()
            .any(|line| line.contains("app_db::") && line.contains("canary"))
    );
    let left = db.backends("app-db").await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].state, "idle");
    pool.rests().await;
}

/// req 2.06: a connection's beginning and end are events, with the words by which they are found.
#[tokio::test]
async fn every_connection_is_logged_when_it_is_made_and_when_it_ends() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = sized(1);
    profile.max_uses = 1;
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    wait_until("the first one has had its use", SOON, async || {
        pool.status().open == 0
    })
    .await;
    let conn = pool.get().await.unwrap();
    let pid = conn.backend_pid();
    db.server()
        .sql(&format!("select pg_terminate_backend({pid})"))
        .await
        .unwrap();
    wait_until("it has noticed", SOON, async || {
        plumbing::observed(&conn).is_closed()
    })
    .await;
    drop(conn);
    pool.close(SOON).await;

    let made = log.saying("connected pool=");
    assert_eq!(made.len(), 2, "{made:#?}");
    has(
        &made[1],
        &[
            "DEBUG app_db::pool",
            "generation=1",
            &format!("backend_pid={pid}"),
            "connect_ms=",
            "phases=",
        ],
    );
    let ended = log.saying("a connection is closed");
    assert_eq!(ended.len(), 2, "{ended:#?}");
    has(
        &ended[0],
        &["DEBUG app_db::pool", "reason=\"uses\"", "uses=1"],
    );
    has(
        &ended[1],
        &[
            "INFO app_db::pool",
            "reason=\"lost\"",
            &format!("backend_pid={pid}"),
            "age_ms=",
        ],
    );
    assert!(log.saying(DIRTY).is_empty());
}
