//! What bounds retries: attempts, the budget of the pool, the time of the transaction.

use super::*;

/// case R24: 200 callers of a function that always conflicts cost the server at most a fifth more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_conflicts_costs_a_fifth_more() {
    const CALLERS: u32 = 200;
    let db = counting("40001").await;
    let database = database(&db.url(), &[]).await;
    let callers = (0..CALLERS).map(|_| {
        let database = database.clone();
        tokio::spawn(async move {
            let outcome: Result<(), Error> = database
                .write(async |conn| Ok(attempted(conn).await?))
                .await;
            outcome.unwrap_err()
        })
    });
    let (mut attempts, mut out_of_budget) = (0, 0);
    for caller in callers.collect::<Vec<_>>() {
        let Error::Conflict {
            attempts: own,
            exhausted,
            first,
            last,
        } = caller.await.unwrap()
        else {
            panic!("not a conflict");
        };
        attempts += own;
        out_of_budget += u32::from(exhausted == Exhausted::Budget);
        assert_eq!((first == last, last.sqlstate().code()), (own == 1, "40001"));
    }
    assert_eq!(attempts, CALLERS * 6 / 5);
    assert_eq!(seen(&db).await, i64::from(attempts));
    assert!(out_of_budget >= CALLERS - 40, "{out_of_budget}");
    let status = &database.status()[0];
    assert_eq!((status.in_use, status.closed.discarded), (0, 0));
}

/// case R24: a budget of nothing lets nobody try again.
#[tokio::test]
async fn a_budget_of_nothing_allows_no_retry() {
    let db = counting("40001").await;
    let none = [("APP_DB__RETRY__BUDGET", "0%")];
    let database = database(&db.url(), &none).await;
    let outcome: Result<(), Error> = database
        .write(async |conn| Ok(attempted(conn).await?))
        .await;
    assert_eq!(outcome.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(seen(&db).await, 1);
}

/// case R24: the error has the first cause and the last, and says what was used up.
#[tokio::test]
async fn a_conflict_tells_its_first_and_last_cause() {
    let db = counting("40P01").await;
    let database = database(&db.url(), &[]).await;
    let outcome: Result<(), Error> = database
        .write(async |conn| Ok(attempted(conn).await?))
        .await;
    let error = outcome.unwrap_err();
    assert_eq!(
        error.to_string(),
        "gave up after 3 attempts that conflicted with other transactions"
    );
    let Error::Conflict {
        attempts: 3,
        exhausted: Exhausted::Attempts,
        first,
        last,
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(
        (first.message(), last.message()),
        ("attempt 1", "attempt 3")
    );
}

/// case R25: a caller whose wait for a connection timed out does not queue again.
#[tokio::test]
async fn a_checkout_timeout_is_not_tried_again() {
    let db = counting("40001").await;
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "200ms"),
        ("APP_DB__RETRY__ATTEMPTS", "10"),
    ];
    let database = database(&db.url(), &more).await;
    let held = database.get().await.unwrap();
    let outcome: Result<(), Error> = database
        .write(async |conn| Ok(attempted(conn).await?))
        .await;
    assert_eq!(outcome.unwrap_err().kind(), Kind::Busy);
    // A second wait would end like the first.
    let status = &database.status()[0];
    assert_eq!(
        (status.checkouts.queued, status.checkouts.timed_out),
        (1, 1)
    );
    drop(held);
    assert_eq!(seen(&db).await, 0);
}

/// case R28: the transaction does not wait for an attempt that would begin after the time is up.
#[tokio::test]
async fn the_timeout_bounds_the_delays_between_attempts() {
    let db = counting("40001").await;
    let more = [("APP_DB__RETRY__BUDGET", "1000%")];
    let database = database(&db.url(), &more).await;
    for _ in 0..20 {
        let outcome: Result<(), Error> = database
            .transaction()
            .attempts(u32::MAX)
            .timeout(Duration::from_millis(300))
            .run(async |conn| Ok(attempted(conn).await?))
            .await;
        let error = outcome.unwrap_err();
        match &error {
            Error::Conflict {
                attempts: attempts @ 2..,
                exhausted: Exhausted::Time,
                ..
            } => {
                assert!(*attempts <= 20, "{attempts}");
                return;
            }
            // The first attempt took almost all the time, or the time was up in the midst of an attempt: this
            // happens now and then, and says nothing of delays. During a delay it must not be up.
            Error::Conflict {
                exhausted: Exhausted::Time,
                ..
            }
            | Error::TimedOut {
                during: Stage::Checkout | Stage::Work,
                ..
            } => {}
            _ => panic!("{error:?}"),
        }
    }
    panic!("the time was never up before a delay");
}

/// case R28, case R25: the time is up while the transaction waits for a connection, and the error says so.
#[tokio::test]
async fn the_timeout_bounds_the_wait_for_a_connection() {
    let db = counting("40001").await;
    let database = database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await;
    let _held = database.get().await.unwrap();
    let outcome: Result<(), Error> = database
        .transaction()
        .timeout(Duration::from_millis(100))
        .run(async |conn| Ok(attempted(conn).await?))
        .await;
    let error = outcome.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the transaction was not done within 100ms, waiting for a connection on attempt 1"
    );
    assert_eq!(error.kind(), Kind::Busy);
}

const LONG_LABEL: &str = match str::from_utf8(&[b'l'; 800]) {
    Ok(label) => label,
    Err(_) => unreachable!(),
};

/// Bad input is refused by its type, all of it at once, before anything is asked of the pool.
#[tokio::test]
async fn options_that_cannot_be_meant_are_refused() {
    let db = counting("40001").await;
    let database = database(&db.url(), &[]).await;
    let described = || database.transaction();
    let zero = Duration::ZERO;
    let zero_of = InvalidOption::ZeroTimeout;
    let label = InvalidOption::ControlCharacter("night\nly\x1b[31m");
    for (transaction, refused, told) in [
        (
            described().attempts(0),
            vec![InvalidOption::NoAttempts],
            "attempts is 0, expected at least 1",
        ),
        (
            described().timeout(zero),
            vec![zero_of("timeout")],
            "timeout is zero, expected a positive time",
        ),
        (
            described().label("nightly\u{202e}degrof"),
            vec![InvalidOption::ControlCharacter("nightly\u{202e}degrof")],
            "the label \"nightly\\u{202e}degrof\" has a control character",
        ),
        (
            described().label(LONG_LABEL),
            vec![InvalidOption::LongLabel(800)],
            "the label has 800 bytes, expected at most 200",
        ),
        (
            described()
                .statement_timeout(zero)
                .attempts(0)
                .lock_timeout(zero)
                .label("night\nly\x1b[31m")
                .attempts(0),
            vec![
                zero_of("statement_timeout"),
                InvalidOption::NoAttempts,
                zero_of("lock_timeout"),
                label,
            ],
            "statement_timeout is zero, expected a positive time; \
             attempts is 0, expected at least 1; \
             lock_timeout is zero, expected a positive time; \
             the label \"night\\nly\\u{1b}[31m\" has a control character",
        ),
    ] {
        let work = async |conn: &mut AsyncPgConnection| Ok::<_, Error>(attempted(conn).await?);
        for outcome in [
            transaction.clone().run(work).await,
            transaction.run_once(work).await,
        ] {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), Kind::Configuration);
            let Error::Invalid(found) = error else {
                panic!("{error:?}");
            };
            assert_eq!(
                (found.options(), found.to_string()),
                (&*refused, told.into())
            );
        }
    }
    assert_eq!(seen(&db).await, 0);
}
