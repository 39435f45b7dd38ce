//! What works beside the pools goes by the same secrets, and tries none of them by itself.

use std::time::Duration;

use app_db::{Gap, Heard, Kind};
use harness::wait_until;
use tokio::time::timeout;

use super::{Secrets, generation, logging, open, refusals, sourced};
use crate::SOON;
use crate::at_rest::watched;

/// case R40: while the server accepts no secret, a listener and twenty probes cost no login; with the new one the
/// listener hears again.
#[tokio::test]
async fn listeners_and_probes_try_no_secret_by_themselves() {
    let (cluster, db) = logging().await;
    let secrets = Secrets::new();
    let path = secrets.put("password", &db.password());
    let url = harness::url(db.server().port(), db.name(), db.role().name(), "nobody");
    let more = [
        ("DATABASE_URL_DIRECT", &*url),
        ("APP_DB__RECONNECT__BASE_DELAY", "20ms"),
        ("APP_DB__RECONNECT__MAX_DELAY", "40ms"),
    ];
    let database = watched(&db, open(&sourced(&db, "file", &path, &more)).await).with_sessions(24);
    let mut orders = database.listen(["orders"]);
    let first = timeout(SOON, orders.next()).await.unwrap();
    assert!(matches!(first, Some(Ok(Heard::Gap(Gap::Beginning)))));

    db.set_password("second1").await.unwrap();
    let name = db.role().name();
    cluster
        .sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'"
        ))
        .await
        .unwrap();
    for _ in 0..20 {
        let health = database.health().await;
        let error = health.write.error.expect("no login works");
        assert!(
            matches!(error.kind(), Kind::Configuration | Kind::Down),
            "{error}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = refusals(&cluster, db.role());
    assert!((1..=3).contains(&refused), "{refused} refusals");

    secrets.put("password", "second1");
    let again = async {
        loop {
            match orders.next().await.unwrap() {
                Ok(Heard::Gap(gap)) => return gap,
                Ok(heard) => panic!("{heard:?}"),
                // The server has refused it meanwhile, which it says.
                Err(error) => assert_eq!(error.kind(), Kind::Configuration, "{error}"),
            }
        }
    };
    assert_eq!(timeout(SOON, again).await.unwrap(), Gap::Reconnected);
    assert_eq!(generation(&database), 2);
    wait_until("it is well", SOON, async || {
        database.health().await.is_ready()
    })
    .await;
    drop(orders);
    database.rests().await;
}
