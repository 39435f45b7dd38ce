//! Misbehaviour in a session that began well.

use db_pool::plumbing;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use app_db::{Database, Error, Kind};
use diesel::QueryResult;
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::wait_until;
use tokio::time::timeout;

use super::peer::{Fake, Stage, Twist, announced, columns, message, row};
use super::{impatient, pool, survive};
use crate::at_rest::unserved;

async fn v(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    diesel::dsl::sql::<Integer>("select v")
        .get_result(conn)
        .await
}

async fn update(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::sql_query("update t set v = 1").execute(conn).await
}

/// Asks once of a server that does this instead of executing the statement, in autocommit.
fn asked_of(twist: Twist) -> QueryResult<i32> {
    let fake = Fake::start(move |stage| match stage {
        Stage::Execute("select v") => Some(twist.clone()),
        _ => None,
    });
    let survived = survive(async move || {
        let pool = pool(&fake, impatient()).await;
        let mut conn = pool.get().await.unwrap();
        let asked = timeout(Duration::from_secs(3), v(&mut conn)).await;
        drop(conn);
        let began = Instant::now();
        pool.close(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(5));
        asked.unwrap()
    });
    survived.value
}

/// The fixture answers as it should where nothing is twisted.
#[test]
fn an_honest_answer_is_right() {
    let complete = message(b'C', b"SELECT 1\0");
    let honest = [row(&[Some(&9_i32.to_be_bytes())]), complete].concat();
    assert_eq!(asked_of(Twist::Say(honest)), Ok(9));
}

/// req 2.39, req 2.40: whatever the code with which a server ends a session, the server is down. The same code
/// in a session that goes on, which a function may raise, says nothing of the connection.
#[test]
fn the_codes_of_a_lost_connection_count_where_it_is_lost() {
    for code in [
        "08000", "08001", "08003", "08004", "08006", "57P01", "57P02", "57P03",
    ] {
        let of = |severity: &str| {
            let fields = format!("S{severity}\0V{severity}\0C{code}\0Mended\0\0");
            message(b'E', fields.as_bytes())
        };
        let lost = asked_of(Twist::SayAndClose(of("FATAL"))).unwrap_err();
        assert_eq!(Error::from(lost).kind(), Kind::Down, "{code}");
        let raised = asked_of(Twist::Say(of("ERROR"))).unwrap_err();
        assert_eq!(Error::from(raised).kind(), Kind::Query, "{code}");
    }
}

/// Rows that do not fit their description are errors and no values.
#[test]
fn a_row_that_does_not_fit_is_an_error() {
    let complete = message(b'C', b"SELECT 1\0");
    let seven: &[u8] = &[0, 0, 0, 7];
    for wrong in [
        // No column; a shorter, a longer and an empty one.
        row(&[]),
        row(&[Some(&[0, 7])]),
        row(&[Some(&[0, 0, 0, 0, 0, 0, 0, 7])]),
        row(&[Some(&[])]),
        row(&[None]),
        // Two columns announced and one there; one, and longer than its row; a length below zero.
        message(b'D', &[&[0, 2, 0, 0, 0, 4], seven].concat()),
        message(b'D', &[&[0, 1, 0, 0, 0, 9], seven].concat()),
        message(b'D', &[&[0, 1, 0xff, 0xff, 0xff, 0xf0], seven].concat()),
        message(b'D', &[0, 1]),
        message(b'D', &[0]),
        message(b'D', &[]),
    ] {
        let answer = [wrong.clone(), complete.clone()].concat();
        let seen = std::panic::catch_unwind(|| asked_of(Twist::Say(answer)));
        let seen = seen.unwrap_or_else(|_| panic!("a panic over {wrong:?}"));
        assert!(seen.is_err(), "{seen:?} from {wrong:?}");
    }
}

/// A message longer than any may be, or shorter than its own header.
#[test]
fn an_impossible_length_is_an_error() {
    for (tag, length) in [
        (b'D', u32::MAX),
        (b'D', 0x4000_0001),
        (b'D', 3),
        (b'C', 0x3fff_ffff),
        (b'E', 0x3fff_ffff),
        (b'Z', 0x3fff_ffff),
        (b'S', 0x3fff_ffff),
        (b'2', 0),
    ] {
        let mut bytes = announced(tag, length, b"");
        bytes.extend_from_slice(&[0; 256]);
        let seen = asked_of(Twist::SayAndStall(bytes));
        assert!(seen.is_err(), "{seen:?} after {tag} {length}");
    }
}

/// Messages that no request asked for, and messages that the protocol does not know.
#[test]
fn messages_out_of_place_are_errors() {
    let complete = message(b'C', b"SELECT 1\0");
    for bytes in [
        message(b'?', b"what"),
        message(b'1', b""),
        message(b't', b"\0\0"),
        message(b'G', b"\0\0\0"),
        message(b'W', b"\0\0\0"),
        [columns(1), complete.clone()].concat(),
        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
    ] {
        let seen = asked_of(Twist::SayAndClose(bytes.clone()));
        assert!(seen.is_err(), "{seen:?} after {bytes:?}");
    }
}

/// case F13: broken off in the middle of a message.
#[test]
fn a_connection_that_ends_in_an_answer_is_an_error() {
    let whole = [
        row(&[Some(&7_i32.to_be_bytes())]),
        message(b'C', b"SELECT 1\0"),
    ]
    .concat();
    for end in 0..whole.len() {
        let seen = asked_of(Twist::SayAndClose(whole[..end].to_vec()));
        assert!(seen.is_err(), "{seen:?} after {end} bytes");
    }
}

/// A client that waits for an answer among endless notices can give up, and so can the pool.
#[test]
fn endless_notices_in_an_answer_take_no_memory() {
    let notice = message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mlook here\0\0");
    let notification = message(b'A', b"\0\0\0\x07channel\0payload\0");
    let parameter = message(
        b'S',
        &[b"name\0", vec![b'x'; 4096].as_slice(), b"\0"].concat(),
    );
    for flood in [notice, notification, parameter] {
        assert_timed_out(Twist::Flood(flood), "select v");
    }
}

/// case F13, case R28: a server that falls silent at any stage of a transaction.
#[test]
fn silence_at_any_stage_of_a_transaction_is_a_timeout() {
    for silent_at in ["BEGIN", "select v", "update", "COMMIT"] {
        assert_timed_out(Twist::Stall, silent_at);
    }
}

/// Runs a transaction with a timeout on a server that does this at a statement.
fn assert_timed_out(twist: Twist, at: &'static str) {
    let fake = Fake::start(move |stage| match stage {
        Stage::Execute(sql) if sql.starts_with(at) => Some(twist.clone()),
        Stage::Query(sql) if sql.contains(at) => Some(twist.clone()),
        _ => None,
    });
    survive(async move || {
        let database = handle(&fake).await;
        let began = Instant::now();
        let transaction = database.transaction().timeout(Duration::from_millis(400));
        let outcome = transaction
            .run(async |conn| {
                v(conn).await?;
                update(conn).await?;
                conn.batch_execute("select 2").await?;
                Ok::<_, Error>(())
            })
            .await;
        let took = began.elapsed();
        let error = outcome.unwrap_err();
        assert!(took < Duration::from_secs(2), "{at}: {took:?}: {error:?}");
        match at {
            "COMMIT" => assert_eq!(error.kind(), Kind::OutcomeUnknown, "{error:?}"),
            _ => assert!(matches!(error, Error::TimedOut { .. }), "{at}: {error:?}"),
        }
        let began = Instant::now();
        database.shutdown(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(6), "{at}");
    });
}

async fn handle(fake: &Fake) -> Database {
    let variables = [
        ("APP_DB__PROFILE__CONNECT_TIMEOUT", "400ms"),
        ("APP_DB__PROFILE__POOLER", "none"),
        ("APP_DB__RETRY__ATTEMPTS", "1"),
    ];
    crate::transaction::database(&fake.url(), &variables).await
}

/// case F1: a connection whose server says that a transaction is open is not handed to the next.
#[test]
fn a_status_that_cannot_be_costs_the_connection() {
    for status in [b'T', b'E', b'X', 0] {
        let asked = AtomicU32::new(0);
        let fake = Fake::start(move |stage| match stage {
            // The third answer belongs to the statement; the second prepares it, and the first says what the
            // session is like.
            Stage::Sync if asked.fetch_add(1, Ordering::SeqCst) == 2 => {
                Some(Twist::Say(message(b'Z', &[status])))
            }
            _ => None,
        });
        let survived = survive(async move || {
            let pool = unserved(pool(&fake, impatient()).await);
            let mut conn = pool.get().await.unwrap();
            let first = timeout(Duration::from_secs(3), v(&mut conn)).await.unwrap();
            drop(conn);
            let mut next = pool.get().await.unwrap();
            let second = timeout(Duration::from_secs(3), v(&mut next)).await.unwrap();
            drop(next);
            let discarded = pool.status().closed.discarded;
            pool.rests().await;
            (first, second, discarded)
        });
        let (first, second, discarded) = survived.value;
        assert!(matches!(first, Ok(7) | Err(_)), "{first:?}");
        assert_eq!((second, discarded), (Ok(7), 1), "{status}");
    }
}

/// A server that has forgotten the transaction shows that in its status: what it has done since is no success.
#[test]
fn a_transaction_that_the_server_has_lost_is_not_committed() {
    let fake = Fake::start(|stage| match stage {
        Stage::Execute("update t set v = 1") => {
            let answer = [message(b'C', b"UPDATE 1\0"), message(b'Z', b"I")].concat();
            Some(Twist::SayAndStall(answer))
        }
        _ => None,
    });
    survive(async move || {
        let database = handle(&fake).await;
        let transaction = database.transaction().timeout(Duration::from_millis(500));
        let outcome = transaction
            .run(async |conn| {
                v(conn).await?;
                update(conn).await?;
                Ok::<_, Error>(())
            })
            .await;
        outcome.unwrap_err();
    });
}

/// A surplus answer belongs to nobody: the next statement does not get it.
#[test]
fn an_answer_that_nobody_asked_for_is_not_the_next_ones() {
    let fake = Fake::start(|stage| match stage {
        Stage::Execute("select v") => {
            let answer = |value: i32| {
                let row = row(&[Some(&value.to_be_bytes())]);
                [
                    message(b'2', b""),
                    row,
                    message(b'C', b"SELECT 1\0"),
                    message(b'Z', b"I"),
                ]
                .concat()
            };
            let complete = [
                row(&[Some(&7_i32.to_be_bytes())]),
                message(b'C', b"SELECT 1\0"),
            ];
            Some(Twist::Say(
                [complete.concat(), message(b'Z', b"I"), answer(666)].concat(),
            ))
        }
        _ => None,
    });
    let survived = survive(async move || {
        let pool = pool(&fake, impatient()).await;
        let mut seen = Vec::new();
        for _ in 0..5 {
            let mut conn = pool.get().await.unwrap();
            seen.push(timeout(Duration::from_secs(3), v(&mut conn)).await.unwrap());
            // At once, and after the surplus answer has been read.
            seen.push(timeout(Duration::from_secs(3), v(&mut conn)).await.unwrap());
            wait_until("it is noticed", crate::SOON, async || {
                plumbing::observed(&conn).is_closed()
            })
            .await;
            seen.push(timeout(Duration::from_secs(3), v(&mut conn)).await.unwrap());
        }
        seen
    });
    for seen in survived.value {
        assert!(matches!(seen, Ok(7) | Err(_)), "{seen:?}");
    }
}
