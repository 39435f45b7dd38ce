//! Gaps: every missed notification lies before a reported gap.

use std::collections::BTreeSet;
use std::time::Duration;

use app_db::{Config, Credentials};
use diesel::sql_types::Integer;
use diesel_async::RunQueryDsl;
use harness::{Cluster, ClusterOptions, Stop, wait_until};
use tokio::sync::watch;

use super::*;
use crate::transaction::{config, database};

#[tokio::test]
async fn a_lost_connection_is_said_when_there_is_a_new_one() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let mut orders = listening(&database).await;
    assert_is_heard(&db, &mut orders, "before").await;
    let pid = listeners(&db).await[0].pid;
    db.sql(&format!("select pg_terminate_backend({pid})"))
        .await
        .unwrap();
    assert_eq!(gap(&mut orders).await, Gap::Reconnected);
    assert_is_heard(&db, &mut orders, "after").await;
}

/// A service may listen before its server is there.
#[tokio::test]
async fn a_listener_waits_for_its_server() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    cluster.stop(Stop::Fast).await.unwrap();
    let config: Config = config(&db.url(), &[("APP_DB__RECONNECT__BASE_DELAY", "100ms")]);
    let database = Database::connect_lazy(&config).unwrap();
    let mut orders = database.listen(["orders"]);
    let nothing = timeout(Duration::from_millis(300), orders.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    cluster.start_again().await.unwrap();
    assert_eq!(gap(&mut orders).await, Gap::Beginning);
    assert_is_heard(&db, &mut orders, "at last").await;
}

/// A slow reader is told that notifications were dropped, after it has read the kept ones.
#[tokio::test]
async fn a_reader_that_is_late_is_told_of_what_was_dropped() {
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let mut orders = database.listen(["orders"]);
    wait_until("it listens", SOON, async || listeners(&db).await.len() == 1).await;
    db.sql("select pg_notify('orders', n::text) from generate_series(1, 20000) n")
        .await
        .unwrap();
    // All of them are on their way before this one is sent.
    wait_until("the server has none left", SOON, async || {
        let usage: f64 = db
            .scalar("select pg_notification_queue_usage()")
            .await
            .unwrap();
        usage == 0.0
    })
    .await;
    assert_eq!(gap(&mut orders).await, Gap::Beginning);
    let mut heard = 0;
    let gap = loop {
        match next(&mut orders).await {
            Some(Ok(Heard::Notification(one))) => {
                heard += 1;
                assert_eq!(one.payload, heard.to_string());
            }
            Some(Ok(Heard::Gap(gap))) => break gap,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(gap, Gap::Behind);
    assert!((10_000..20_000).contains(&heard), "{heard}");
    // What was still on its way then is heard, later ones after earlier ones, and so is what comes now.
    db.sql("select pg_notify('orders', 'all the same')")
        .await
        .unwrap();
    loop {
        match next(&mut orders).await {
            Some(Ok(Heard::Notification(one))) if one.payload == "all the same" => break,
            Some(Ok(Heard::Notification(one))) => {
                let number: i32 = one.payload.parse().unwrap();
                assert!(number > heard, "{number} after {heard}");
                heard = number;
            }
            Some(Ok(Heard::Gap(again))) => assert_eq!(again, Gap::Behind),
            other => panic!("{other:?}"),
        }
    }
}

/// A notification between two heard ones is missing only if a gap was reported there.
#[tokio::test]
async fn ten_thousand_notifications_under_restarts_and_rotations_miss_nothing_unsaid() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    db.sql("create table sent (n int primary key); grant all on sent to public")
        .await
        .unwrap();
    let more = [
        ("APP_DB__RECONNECT__BASE_DELAY", "20ms"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "10s"),
    ];
    let database = database(&db.url(), &more).await;
    let mut orders = database.listen(["orders"]);
    let (progress, sent) = watch::channel(0);

    let sending = async {
        for first in (1..LAST).step_by(STEP as usize) {
            // The outcome of a COMMIT during a restart is unknown; the row shows it.
            loop {
                let outcome: Result<(), Error> = database
                    .write(async |conn| {
                        let sending = "with new as (insert into sent select n from generate_series($1, $2) n \
                                       on conflict do nothing returning n) \
                                       select pg_notify('orders', n::text) from new order by n";
                        diesel::sql_query(sending)
                            .bind::<Integer, _>(first)
                            .bind::<Integer, _>(first + STEP - 1)
                            .execute(conn)
                            .await?;
                        Ok(())
                    })
                    .await;
                if outcome.is_ok() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            progress.send_replace(first + STEP - 1);
        }
    };
    let disturbing = async {
        for round in 1..=ROUNDS {
            let mut sent = sent.clone();
            let reached = sent.wait_for(|sent| *sent >= LAST / (ROUNDS + 1) * round);
            reached.await.unwrap();
            match round % 3 {
                0 => cluster.restart(Stop::Fast).await.unwrap(),
                1 => cluster.restart(Stop::Immediate).await.unwrap(),
                _ => {
                    let password = format!("password{round}");
                    db.set_password(&password).await.unwrap();
                    let credentials = Credentials::new(db.role().name(), password);
                    let rotation = database.rotate(credentials).await.unwrap();
                    timeout(SOON, rotation.drained()).await.unwrap();
                }
            }
        }
    };
    let mut seen = BTreeSet::new();
    let mut gaps = 0;
    let hearing = async {
        // The last known one, from a notification or from the table after a gap.
        let mut known = 0;
        while known < LAST {
            match next(&mut orders).await {
                Some(Ok(Heard::Notification(one))) => {
                    let n: i32 = one.payload.parse().unwrap();
                    // A notification about a row that the table has already shown may still arrive.
                    assert!(
                        n <= known + 1,
                        "{n} was heard after {known}, and no gap was said"
                    );
                    known = known.max(n);
                    seen.insert(n);
                }
                Some(Ok(Heard::Gap(_))) => {
                    gaps += 1;
                    let newest = "select coalesce(max(n), 0) from sent";
                    let newest = database.read(async |conn| {
                        diesel::dsl::sql::<Integer>(newest)
                            .get_result::<i32>(conn)
                            .await
                    });
                    known = known.max(newest.await.unwrap_or(known));
                }
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(Duration::from_secs(60), async {
        tokio::join!(sending, disturbing, hearing)
    })
    .await
    .unwrap();
    let counted: i64 = db.scalar("select count(*) from sent").await.unwrap();
    assert_eq!(counted, i64::from(LAST));
    // One at the beginning, and no more than the disturbances explain.
    assert!((2..=1 + 2 * ROUNDS).contains(&gaps), "{gaps} gaps");
    let heard = seen.len();
    assert!(heard > LAST as usize / 2, "{heard} of {LAST} were heard");
    assert_eq!(database.shutdown(SOON).await.abandoned, 0);
}

const LAST: i32 = 10_000;
/// How many are sent with one COMMIT.
const STEP: i32 = 20;
const ROUNDS: i32 = 6;
