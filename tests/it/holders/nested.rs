//! Checkouts from inside work that holds a connection of the same pool.

use app_db::{Error, Kind, PoolError};
use db_pool::plumbing;
use diesel::sql_types::Integer;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;
use tokio::sync::oneshot;

use crate::transaction::database;

async fn pid(conn: &mut AsyncPgConnection) -> Result<i32, Error> {
    let pid = diesel::dsl::sql::<Integer>("select pg_backend_pid()");
    Ok(pid.get_result(conn).await?)
}

/// A diesel transaction is recognized too. A caller that waits inside it is counted, and its error says
/// so.
#[tokio::test]
async fn a_checkout_inside_a_plain_transaction_is_counted() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "200ms"),
    ];
    let database = database(&db.url(), &more).await;
    let status = database.clone();
    let nested = tokio::spawn(async move {
        let mut conn = database.get().await.unwrap();
        conn.batch_execute("begin; select 1").await.unwrap();
        database.get().await.unwrap_err()
    });
    let error = nested.await.unwrap();
    assert!(
        error
            .report()
            .contains("the waiting task itself has held one since"),
        "{error:?}"
    );
    assert_eq!(status.status()[0].checkouts.nested, 1);
}

/// The deadlock of work that waits for itself is reported at once, with both lines.
#[tokio::test]
async fn a_nested_checkout_is_refused_when_no_connection_is_free() {
    let db = TestDatabase::empty().await.unwrap();
    let db = &database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await;
    let (outer, line) = (db.write(async |_| db.write(pid).await), line!());
    let error = outer.await.unwrap_err();
    let Error::Pool(PoolError::Nested { outer, inner, .. }) = &error else {
        panic!("{error:?}");
    };
    assert!(outer.file().ends_with("holders/nested.rs"), "{outer}");
    assert_eq!((outer.line(), inner.line()), (line, line));
    assert!(outer.column() < inner.column(), "{outer} and {inner}");
    assert_eq!(error.kind(), Kind::Busy);
    let shown = error.to_string();
    assert!(shown.contains(&outer.to_string()) && shown.contains(&inner.to_string()));

    // The same holds for every other way to a connection.
    let read = db.write(async |_| db.read(pid).await).await;
    let plain = db.read(async |_| db.get().await.map(drop)).await;
    let pool = db
        .write(async |_| Ok(db.pool("write").unwrap().get().await.map(drop)?))
        .await;
    for error in [
        read.map(drop).unwrap_err(),
        plain.unwrap_err(),
        pool.unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Pool(PoolError::Nested { .. })),
            "{error:?}"
        );
    }
    let status = &db.status()[0];
    assert_eq!(
        (status.checkouts.nested, status.checkouts.timed_out),
        (4, 0)
    );
    assert_eq!((status.in_use, status.closed.discarded), (0, 0));
    assert!(db.write(pid).await.is_ok());
}

/// While there is a connection for it, it is only counted.
#[tokio::test]
async fn a_nested_checkout_is_counted_and_served_while_a_connection_is_free() {
    let db = TestDatabase::empty().await.unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "2"),
        ("APP_DB__POOLS__BATCH__MAX", "1"),
    ];
    let db = &database(&db.url(), &more).await;
    let work = async |conn: &mut AsyncPgConnection| {
        let outer = pid(conn).await?;
        let inner = db.write(pid).await?;
        Ok::<_, Error>((outer, inner))
    };
    let (outer, inner) = db.write(work).await.unwrap();
    assert_ne!(outer, inner);
    assert_eq!(db.status()[0].checkouts.nested, 1);

    // Another pool is not nested; but the first one still is, inside work of the other.
    let batch = db.pool("batch").unwrap();
    db.write(async |_| Ok::<_, Error>(batch.get().await.map(drop)?))
        .await
        .unwrap();
    let through_another = db
        .write(async |_| {
            let here = std::panic::Location::caller();
            let inside = plumbing::scope(batch, here, async { db.write(pid).await });
            inside.await
        })
        .await;
    assert!(through_another.is_ok());
    let counts: Vec<_> = db
        .status()
        .iter()
        .map(|status| status.checkouts.nested)
        .collect();
    assert_eq!(counts, [2, 0]);
}

/// Two helpers side by side are not inside each other, so that is no nesting. Work in a separate task is no nesting
/// either.
#[tokio::test]
async fn work_beside_work_is_not_nested() {
    let db = TestDatabase::empty().await.unwrap();
    let db = database(&db.url(), &[("APP_DB__PROFILE__MAX", "1")]).await;
    let (one, other) = tokio::join!(db.write(pid), db.write(pid));
    assert_eq!(one.unwrap(), other.unwrap());
    let (started, mut spawned) = oneshot::channel();
    let started = std::sync::Arc::new(std::sync::Mutex::new(Some(started)));
    db.write(async |conn| {
        let (of_task, started) = (db.clone(), started.lock().unwrap().take().unwrap());
        let task = tokio::spawn(async move { of_task.write(pid).await });
        let _received = started.send(task);
        while db.status()[0].waiting == 0 {
            tokio::task::yield_now().await;
        }
        pid(conn).await
    })
    .await
    .unwrap();
    assert!(spawned.try_recv().unwrap().await.unwrap().is_ok());
    assert_eq!(db.status()[0].checkouts.nested, 0);
}
