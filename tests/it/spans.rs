//! Spans of transactions and statements, by OpenTelemetry's names.

use diesel::QueryResult;
use diesel::sql_types::{Integer, Text};
use diesel_async::RunQueryDsl;
use futures_util::StreamExt;
use harness::{TestDatabase, wait_until};
use tracing::Instrument;

use crate::SOON;
use crate::captured::{Captured, Entry};
use crate::transaction::database;

/// One span for the transaction within the caller's span, and one for each statement within that, with its
/// outcome. None of them contains a value.
#[tokio::test]
async fn a_transaction_and_its_statements_have_spans() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let before = captured.spans().len();
    let done: QueryResult<()> = async {
        database
            .transaction()
            .label("booking")
            .run(async |conn| {
                let asked =
                    diesel::sql_query("select relname from pg_class where relname <> $1 limit 2");
                asked.bind::<Text, _>("canary").execute(conn).await?;
                let failing = diesel::sql_query("select 1 / $1");
                failing.bind::<Integer, _>(0).execute(conn).await?;
                Ok(())
            })
            .await
    }
    .instrument(tracing::info_span!(target: "caller", "request"))
    .await;
    done.unwrap_err();
    let spans = captured.spans().split_off(before);
    let at = |name: &str| {
        spans
            .iter()
            .position(|span| span.get("otel.name") == Some(name))
    };
    let (caller, transaction) = (before, at("booking").unwrap());
    let (select, failed) = (at("SELECT pg_class").unwrap(), at("SELECT").unwrap());
    assert_eq!(spans[transaction].parent, Some(caller));
    assert_eq!(spans[transaction].get("otel.status_code"), Some("ERROR"));
    assert_eq!(spans[transaction].number("attempts"), 1);
    let common = |span: &Entry| {
        assert_eq!(span.get("db.system.name"), Some("postgresql"));
        assert_eq!(span.get("db.namespace"), Some(db.name()));
        assert_eq!(span.get("otel.kind"), Some("client"));
        assert_eq!(span.get("db.client.connection.pool.name"), Some("write"));
        assert!(span.is_closed, "{span:?}");
    };
    for span in &spans[transaction..] {
        common(span);
    }
    for (at, status) in [(select, None), (failed, Some("22012"))] {
        let span = &spans[at];
        assert_eq!(span.parent, Some(before + transaction));
        assert_eq!(span.get("db.response.status_code"), status);
        assert_eq!(span.get("error.type"), status);
        assert_eq!(span.number("server.port"), u64::from(db.server().port()));
    }
    assert_eq!(spans[select].number("db.response.returned_rows"), 2);
    assert_eq!(
        spans[select].get("db.query.text"),
        Some("select relname from pg_class where relname <> ? limit ?")
    );
    assert!(!captured.mentions("canary"));
}

/// A statement's span lasts until its last row, and the slow-query event stands in it.
#[tokio::test]
async fn a_span_lasts_until_the_last_row() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[("APP_DB__SLOW_QUERY__THRESHOLD", "50ms")]).await;
    let mut conn = database.get().await.unwrap();
    let many =
        diesel::dsl::sql::<Text>("select repeat('x', 1000) from generate_series(1, 20000) g");
    let mut stream = many.load_stream::<String>(&mut conn).await.unwrap();
    let is_it = |span: &Entry| span.get("db.query.summary").is_none() && !span.is_closed;
    assert_eq!(
        captured.spans().iter().filter(|span| is_it(span)).count(),
        1
    );
    while let Some(row) = stream.next().await {
        row.unwrap();
    }
    drop(stream);
    let spans = captured.spans();
    let span = spans
        .iter()
        .find(|span| span.get("otel.name") == Some("SELECT generate_series"));
    assert_eq!(span.unwrap().number("db.response.returned_rows"), 20_000);
    let slow = diesel::sql_query("select pg_sleep(0.1) from pg_database limit 1");
    slow.execute(&mut conn).await.unwrap();
    let event = &captured.events("app_db::slow_query");
    let event = event
        .iter()
        .find(|event| event.get("sql").unwrap().contains("pg_sleep"))
        .unwrap();
    let around = &captured.spans()[event.parent.unwrap()];
    assert_eq!(around.get("otel.name"), Some("SELECT pg_database"));
    assert!(captured.spans().iter().all(|span| span.is_closed));
}

/// The span of a query that was dropped ends as well.
#[tokio::test]
async fn the_span_of_a_dropped_query_ends() {
    let (captured, _guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let database = database(&db.url(), &[]).await;
    let mut conn = database.get().await.unwrap();
    let sleeping = diesel::sql_query("select pg_sleep(30)");
    let dropped = tokio::time::timeout(
        std::time::Duration::from_millis(100),
        sleeping.execute(&mut conn),
    );
    dropped.await.unwrap_err();
    drop(conn);
    wait_until("every span has ended", SOON, async || {
        captured.spans().iter().all(|span| span.is_closed)
    })
    .await;
    let spans = captured.spans();
    let span = spans
        .iter()
        .find(|span| span.get("db.query.text") == Some("select pg_sleep(?)"));
    let code = span.unwrap().get("error.type");
    assert!(matches!(code, Some("08006" | "57014")), "{code:?}");
}
