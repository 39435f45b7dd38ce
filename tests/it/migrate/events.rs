//! What is told while migrations run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use app_db::EmbeddedMigration;
use harness::{TestDatabase, wait_until};
use serde_json::Value;

use super::{migrator, table};
use crate::captured::Captured;

#[tokio::test]
async fn a_run_tells_of_migrations_statements_waits_attempts_and_the_failure() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    let holder = database.connect().await.unwrap();
    holder
        .batch_execute("BEGIN; LOCK TABLE t1 IN ACCESS SHARE MODE")
        .await
        .unwrap();
    let migrations = [
        table(1),
        EmbeddedMigration::new("2_alter", "select 1;\n\nalter table t1 add a int"),
        EmbeddedMigration::new("3_wrong", "\nselect nothing"),
    ];
    let told = Arc::new(Mutex::new(Vec::<Value>::new()));
    let hearing = Arc::clone(&told);
    let migrator = migrator(&database.url(), &migrations)
        .lock_timeout(Duration::from_secs(1))
        .on_event(move |event| {
            hearing
                .lock()
                .unwrap()
                .push(serde_json::to_value(event).unwrap());
        });
    let has = |name: &str| {
        told.lock()
            .unwrap()
            .iter()
            .any(|event| event["event"] == name)
    };
    let releasing = async {
        wait_until("it has been tried again", crate::SOON, async || {
            has("retried")
        })
        .await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (outcome, ()) = tokio::join!(migrator.run(), releasing);
    outcome.unwrap_err();

    let told = told.lock().unwrap();
    let find = |name: &str| told.iter().find(|event| event["event"] == name).unwrap();
    assert_eq!(find("started")["version"], "2");
    assert_eq!(find("started")["action"], "apply");
    let statement = told
        .iter()
        .find(|event| event["event"] == "statement" && event["statement"] == 2)
        .unwrap();
    assert_eq!(
        (&statement["of"], &statement["line"]),
        (&Value::from(2), &Value::from(3))
    );
    let waiting = find("waiting");
    assert_eq!(waiting["on"], "table t1");
    assert!(
        waiting["blockers"][0]["pid"].as_i64().unwrap() > 0,
        "{waiting}"
    );
    assert_eq!(find("retried")["sqlstate"], "55P03");
    assert_eq!(find("finished")["version"], "2");
    assert!(find("finished")["elapsed_ms"].as_u64().unwrap() > 500);
    let failed = told.last().unwrap();
    assert_eq!(failed["event"], "failed");
    assert_eq!(
        (&failed["version"], &failed["line"]),
        (&Value::from("3"), &Value::from(2))
    );
    assert_eq!(failed["sqlstate"], "42703");
    assert!(
        failed["message"]
            .as_str()
            .unwrap()
            .contains("does not exist"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_validation_is_not_cut_short_and_a_timeout_of_the_file_is_in_the_log() {
    let database = TestDatabase::empty().await.unwrap();
    let slow = EmbeddedMigration::new(
        "1_slow",
        "set local statement_timeout = '1min';\n\
         create function slow(int) returns bool language sql as 'select pg_sleep(0.4) is not null';\n\
         create table t1(a int); insert into t1 values (1);\n\
         alter table t1 add constraint slow check (slow(a)) not valid",
    );
    let validate = EmbeddedMigration::new("2_validate", "alter table t1 validate constraint slow");
    let migrator = migrator(&database.url(), &[slow, validate])
        .statement_timeout(Some(Duration::from_millis(200)));
    let (captured, _guard) = Captured::begin();
    assert_eq!(migrator.run().await.unwrap().len(), 2);
    let events = captured.events("app_db::migrate");
    let own: Vec<_> = events
        .iter()
        .filter(|event| event.get("message") == Some("a migration sets its own timeout"))
        .map(|event| (event.get("version"), event.get("setting")))
        .collect();
    assert_eq!(own, [(Some("1"), Some("statement_timeout"))]);
}
