//! Bound values in the slow-query log: nowhere by default, in one field where a developer asks for them.

use app_db::Database;
use diesel::QueryResult;
use diesel::sql_types::{Double, Integer, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;

use super::slow;
use crate::captured::{Captured, Entry};
use crate::transaction::database;

const ON: (&str, &str) = ("APP_DB__SLOW_QUERY__BIND_VALUES", "on");
const EVERYTHING: (&str, &str) = ("APP_DB__SLOW_QUERY__THRESHOLD", "1ms");

/// Binds a canary to a statement that is slow, and to one that is slow and fails.
async fn bind_canary(database: &Database) -> app_db::Error {
    let slept: QueryResult<usize> = database
        .read(async |conn| {
            let slow = diesel::sql_query("select $1 as one, pg_sleep(0.01)");
            slow.bind::<Text, _>("canary").execute(conn).await
        })
        .await;
    slept.unwrap();
    let failed: Result<(), app_db::Error> = database
        .write(async |conn| {
            let failing = diesel::sql_query("select $1 as two, 1 / length(pg_sleep(0.01)::text)");
            failing.bind::<Text, _>("canary").execute(conn).await?;
            Ok(())
        })
        .await;
    failed.unwrap_err()
}

fn with_canary(captured: &Captured) -> Vec<Entry> {
    let slow = slow(captured).into_iter();
    slow.filter(|slow| slow.get("sql").unwrap().contains("pg_sleep"))
        .collect()
}

/// case R63: what is bound to a statement is in nothing that is traced, at any level.
#[tokio::test]
async fn bound_values_are_nowhere_by_default() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[EVERYTHING]).await;
    let error = bind_canary(&database).await;
    let slow = with_canary(&captured);
    assert_eq!(slow.len(), 2, "{slow:?}");
    assert!(slow.iter().all(|slow| slow.get("binds").is_none()));
    assert!(!captured.mentions("canary"));
    let told = format!("{error} {error:?} {:?}", database.statements());
    assert!(!told.contains("canary"), "{told}");
}

/// case R63: with the developer's switch they are in `binds` of the slow event and nowhere else, and the start
/// warns of it once.
#[tokio::test]
async fn a_developer_sees_bound_values_in_one_field() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[EVERYTHING, ON]).await;
    let warned = captured.events("app_db::start_up");
    let warned: Vec<_> = warned
        .iter()
        .filter_map(|event| event.get("warning"))
        .collect();
    assert_eq!(
        warned,
        [
            "database.slow_query.bind_values (APP_DB__SLOW_QUERY__BIND_VALUES): the slow-query log shows the \
          values of statements"
        ]
    );
    let error = bind_canary(&database).await;
    let slow = with_canary(&captured);
    assert_eq!(slow.len(), 2, "{slow:?}");
    assert_eq!(slow[1].get("sqlstate"), Some("22012"));
    assert!(
        slow.iter()
            .all(|slow| slow.get("binds") == Some("[\"canary\"]")),
        "{slow:?}"
    );
    assert_eq!(captured.with_text("canary").len(), 2, "elsewhere too");
    let told = format!("{error} {error:?} {:?} {database:?}", database.statements());
    assert!(!told.contains("canary"), "{told}");
    assert!(captured.spans().iter().all(|span| span.is_closed));

    // A text without placeholders has nothing bound to it.
    let mut conn = database.get().await.unwrap();
    conn.batch_execute("select pg_sleep(0.02)").await.unwrap();
    let slow = with_canary(&captured);
    assert_eq!(slow.last().unwrap().get("binds"), None);
}

/// Of statements in a pipeline that have one text each has its own values.
#[tokio::test]
async fn values_are_those_of_the_slow_one_in_a_pipeline() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let threshold = ("APP_DB__SLOW_QUERY__THRESHOLD", "100ms");
    let database = database(&db.url(), &[threshold, ON]).await;
    let conn = database.get().await.unwrap();
    let nap = |seconds: f64, name: &'static str| {
        diesel::sql_query("select $1, pg_sleep($2)")
            .bind::<Text, _>(name)
            .bind::<Double, _>(seconds)
            .execute(&mut &*conn)
    };
    for _ in 0..2 {
        let other = diesel::sql_query("select $1 as n").bind::<Integer, _>(1);
        let (a, b, c, d) = tokio::join!(
            nap(0.0, "first"),
            nap(0.15, "second"),
            other.execute(&mut &*conn),
            nap(0.0, "third"),
        );
        for done in [a, b, c, d] {
            done.unwrap();
        }
    }
    // If only the first row is taken, the wire reports the end of the statement.
    let slow = slow(&captured);
    let binds: Vec<_> = slow.iter().map(|slow| slow.get("binds").unwrap()).collect();
    assert_eq!(binds, ["[\"second\", 0.15]"; 2]);
}

/// case R63: line breaks, escape sequences and a megabyte in a value stay within one field of one record.
#[tokio::test]
async fn hostile_values_leave_one_harmless_record_each() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[EVERYTHING, ON]).await;
    let mut conn = database.get().await.unwrap();
    let forged = "a\r\n{\"level\":\"ERROR\"}\x1b[31m\u{202e}\u{2028}";
    let long = "x\n".repeat(1 << 19);
    for value in [forged, &long] {
        let slow = diesel::sql_query("select $1, pg_sleep(0.01)");
        slow.bind::<Text, _>(value)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let slow = with_canary(&captured);
    assert_eq!(slow.len(), 2);
    for slow in &slow {
        let binds = slow.get("binds").unwrap();
        let is_harmful = |char: char| char.is_control() || matches!(char, '\u{202e}' | '\u{2028}');
        assert!(
            binds.len() < 2_100 && !binds.contains(is_harmful),
            "{binds}"
        );
    }
    assert!(slow[0].get("binds").unwrap().contains("ERROR"));
    assert!(slow[1].get("binds").unwrap().ends_with('…'));
}
