//! COPY in the slow-query log: what is executing, and what is streaming.

use db_pool::plumbing;
use std::sync::Arc;
use std::time::{Duration, Instant};

use app_db::{Connection, Pool};
use diesel_async::SimpleAsyncConnection;
use harness::{TestDatabase, wait_until};

use super::{everything_is_slow, pool, slow};
use crate::captured::{Captured, Entry};

async fn begun() -> (
    Captured,
    tracing::subscriber::DefaultGuard,
    TestDatabase,
    Pool,
) {
    let (captured, guard) = Captured::begin();
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool(&db, everything_is_slow(1)).await;
    (captured, guard, db, pool)
}

/// The event of the COPY that was run.
fn copied(captured: &Captured) -> Entry {
    let is_copy = |slow: &&Entry| slow.get("sql").unwrap().starts_with("copy");
    let slow = slow(captured);
    let copies: Vec<_> = slow.iter().filter(is_copy).collect();
    assert_eq!(copies.len(), 1, "{slow:?}");
    copies[0].clone()
}

/// A lock of the test's own, at which a statement that asks for it waits.
struct Held(tokio_postgres::Client);

impl Held {
    async fn take(db: &TestDatabase) -> Self {
        let client = db.connect().await.unwrap();
        let sql = format!("select pg_advisory_lock({KEY})");
        client.batch_execute(&sql).await.unwrap();
        Self(client)
    }

    /// Waits until a statement waits at it.
    async fn reached(&self) {
        let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted \
                   and database = (select oid from pg_database where datname = current_database())";
        wait_until("the statement waits", crate::SOON, async || {
            let row = self.0.query_one(sql, &[]).await.unwrap();
            row.get::<_, i64>(0) == 1
        })
        .await;
    }

    async fn release(&self) {
        let sql = format!("select pg_advisory_unlock({KEY})");
        self.0.batch_execute(&sql).await.unwrap();
    }
}

const KEY: u32 = 63;

/// The shortest duration of what is measured.
const A_WHILE: Duration = Duration::from_millis(100);

/// Runs a COPY TO and then another statement, and returns when the latter was answered: diesel-async does not take
/// the rows, but the wire sees them pass.
async fn copy_to(conn: &mut Connection, copy: &str) -> Instant {
    conn.batch_execute(copy).await.unwrap_err();
    conn.batch_execute("select 1 as next").await.unwrap();
    Instant::now()
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

/// case R63, req 2.09: what happens before the first row of a COPY TO is executing.
#[tokio::test]
async fn a_copy_that_is_slow_to_begin_is_executing() {
    let (captured, _guard, db, pool) = begun().await;
    let held = Held::take(&db).await;
    let waiting = format!(
        "copy (select pg_advisory_lock({KEY}), 0 union all select null, g from generate_series(1, 6) g) \
         to stdout"
    );
    let mut conn = pool.get().await.unwrap();
    let releasing = async {
        held.reached().await;
        let reached = Instant::now();
        tokio::time::sleep(A_WHILE).await;
        let released = Instant::now();
        held.release().await;
        (released - reached, released)
    };
    let (end, (waited, released)) = tokio::join!(copy_to(&mut conn, &waiting), releasing);
    let slow = copied(&captured);
    assert!(slow.number("first_row_ms") >= whole_ms(waited), "{slow:?}");
    assert!(
        slow.number("streaming_ms") <= whole_ms(end - released),
        "{slow:?}"
    );
    assert_eq!(slow.number("rows"), 7);
    assert_eq!(slow.get("sqlstate"), None);
}

/// case R63, req 2.09: what happens between its rows is streaming. The server sends rows as its buffer of 8 kB
/// is full: the first row is out when the second one has filled it again.
#[tokio::test]
async fn a_copy_that_is_slow_between_its_rows_is_streaming() {
    let (captured, _guard, db, pool) = begun().await;
    let held = Held::take(&db).await;
    let waiting = format!(
        "copy (select repeat('x', 10000), case when g = 3 then pg_advisory_lock({KEY}) end \
         from generate_series(1, 7) g) to stdout"
    );
    let mut conn = pool.get().await.unwrap();
    let observed = Arc::clone(plumbing::observed(&conn));
    let before = observed.bytes_received();
    let releasing = async {
        held.reached().await;
        wait_until("the first row is here", crate::SOON, async || {
            observed.bytes_received() > before + 10_000
        })
        .await;
        let first_row = Instant::now();
        tokio::time::sleep(A_WHILE).await;
        let waited = first_row.elapsed();
        held.release().await;
        (first_row, waited)
    };
    let began = Instant::now();
    let (_end, (first_row, waited)) = tokio::join!(copy_to(&mut conn, &waiting), releasing);
    let slow = copied(&captured);
    assert!(slow.number("streaming_ms") >= whole_ms(waited), "{slow:?}");
    assert!(
        slow.number("first_row_ms") <= whole_ms(first_row - began),
        "{slow:?}"
    );
    assert_eq!(slow.number("rows"), 7);
}

/// case R63, req 2.09: COPY FROM is executing until the server has its lock and is ready for rows. From then on it
/// is streaming, here until its client goes on without sending any.
#[tokio::test]
async fn a_copy_from_waits_for_its_lock_and_then_for_rows() {
    let (captured, _guard, db, pool) = begun().await;
    db.sql("create table t (id int); grant all on t to public")
        .await
        .unwrap();
    let holder = db.connect().await.unwrap();
    holder.batch_execute("begin; lock table t").await.unwrap();
    let mut conn = pool.get().await.unwrap();
    let copying = async {
        conn.batch_execute("copy t from stdin").await.unwrap_err();
        let ready = Instant::now();
        tokio::time::sleep(A_WHILE).await;
        let idle = ready.elapsed();
        conn.batch_execute("select 1 as next").await.unwrap();
        idle
    };
    let releasing = async {
        let waits = "select count(*) from pg_locks where relation = 't'::regclass and not granted";
        wait_until("the COPY waits", crate::SOON, async || {
            db.scalar::<i64>(waits).await.unwrap() == 1
        })
        .await;
        let reached = Instant::now();
        tokio::time::sleep(A_WHILE).await;
        let waited = reached.elapsed();
        holder.batch_execute("commit").await.unwrap();
        waited
    };
    let (idle, waited) = tokio::join!(copying, releasing);
    let slow = copied(&captured);
    assert!(slow.number("first_row_ms") >= whole_ms(waited), "{slow:?}");
    assert!(slow.number("streaming_ms") >= whole_ms(idle), "{slow:?}");
    assert_eq!(slow.get("sqlstate"), Some("57014"));
}
