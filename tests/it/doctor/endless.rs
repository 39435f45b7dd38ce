//! Statements and transactions that nobody ends.

use harness::TestDatabase;

use super::{advice, doctor, json};

/// req 4.17: if neither the pool nor the server has a bound, a statement or a forgotten transaction keeps its locks
/// for ever. One of the two bounds is enough.
#[tokio::test]
async fn work_that_nobody_ends_is_told_of() {
    let database = TestDatabase::empty().await.unwrap();
    let bounded = doctor(&database.url(), &database.url());
    let report = json(&bounded.run("doctor --json").await.ended_with(0));
    assert!(
        advice(&report, "and neither has the server").is_empty(),
        "{report:#}"
    );

    let endless = doctor(&database.url(), &database.url())
        .with("APP_DB__PROFILE__STATEMENT_TIMEOUT", "0s")
        .with("APP_DB__PROFILE__IDLE_IN_TRANSACTION_SESSION_TIMEOUT", "0s");
    let report = json(&endless.run("doctor --json").await.ended_with(0));
    for key in [
        "no statement_timeout",
        "no idle_in_transaction_session_timeout",
    ] {
        let found = advice(&report, key);
        assert_eq!(
            (found.len(), &*found[0].0),
            (1, "note"),
            "{key}: {report:#}"
        );
    }

    let role = database.role().name();
    let admin = database.server().admin().await.unwrap();
    let alter = format!("alter role {role} set statement_timeout = '5s'");
    admin.batch_execute(&alter).await.unwrap();
    let report = json(&endless.run("doctor --json").await.ended_with(0));
    assert!(
        advice(&report, "no statement_timeout").is_empty(),
        "{report:#}"
    );
    assert_eq!(report["endpoints"][0]["statement_timeout_ms"], 5_000);
}
