//! Changes that one holder made in its session are gone for the next one, on the same backend.

mod failing;
mod poolers;

use app_db::{Pool, PoolProfile};
use db_pool::Reset;
use db_pool::plumbing;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel::{IntoSql, QueryResult};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::{FutureExt, StreamExt};
use harness::TestDatabase;

use crate::at_rest::{open, open_at};
use crate::pool::{sized, url};

/// One connection, so that the next borrower gets the backend of the last.
fn profile() -> PoolProfile {
    let mut profile = sized(1);
    profile.search_path = Some("app, public".to_owned());
    profile.timezone = "Asia/Tokyo".to_owned();
    profile.statement_timeout = Some(std::time::Duration::from_secs(31));
    profile
}

fn with_reset(reset: Reset) -> PoolProfile {
    let mut profile = profile();
    profile.reset = reset;
    profile
}

/// A database in which a borrower can do everything that it must not leave behind.
async fn database() -> TestDatabase {
    let db = TestDatabase::empty().await.unwrap();
    let role = db.role().name();
    db.sql(&format!(
        "create schema app; grant all on schema app, public to {role}; \
         create table app.orders (id serial primary key, n int not null); \
         grant all on app.orders, app.orders_id_seq to {role}; \
         create function app.set_tenant(t text) returns text language sql as \
         $$ select set_config('app.tenant', t, false) $$; \
         create function app.prepare() returns void language plpgsql as \
         $$ begin execute 'prepare app_plan as select 1'; end $$; \
         alter role {role} superuser"
    ))
    .await
    .unwrap();
    db
}

async fn text(conn: &mut AsyncPgConnection, sql: &str) -> QueryResult<Option<String>> {
    diesel::dsl::sql::<Nullable<Text>>(sql)
        .get_result(conn)
        .await
}

async fn count(conn: &mut AsyncPgConnection, sql: &str) -> i64 {
    diesel::dsl::sql::<BigInt>(sql)
        .get_result(conn)
        .await
        .unwrap()
}

/// A statement that diesel itself keeps prepared. Its name must outlast a reset.
async fn cached(conn: &mut AsyncPgConnection, n: i32) -> i32 {
    diesel::select(n.into_sql::<Integer>())
        .get_result(conn)
        .await
        .unwrap()
}

async fn setting(conn: &mut AsyncPgConnection, name: &str) -> String {
    let sql = format!("select current_setting('{name}', true)");
    text(conn, &sql).await.unwrap().unwrap_or_default()
}

/// Checks, with what the server itself says, that nothing of another holder is left.
async fn assert_clean(conn: &mut AsyncPgConnection, role: &str, after: &str) {
    for (name, value) in [
        ("search_path", "app, public"),
        ("TimeZone", "Asia/Tokyo"),
        ("statement_timeout", "31s"),
        ("application_name", "app-db"),
        ("client_encoding", "UTF8"),
        ("default_transaction_isolation", "read committed"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("default_transaction_read_only", "off"),
        ("app.tenant", ""),
        ("role", "none"),
    ] {
        assert_eq!(setting(conn, name).await, value, "{name} after {after}");
    }
    for (what, sql) in [
        (role, "select current_user::text"),
        (role, "select session_user::text"),
    ] {
        assert_eq!(
            text(conn, sql).await.unwrap().unwrap(),
            what,
            "after {after}"
        );
    }
    for what in [
        "pg_listening_channels()",
        "pg_cursors where is_holdable",
        "pg_class where relpersistence = 't' and relnamespace = pg_my_temp_schema()",
        "pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
        "pg_prepared_statements where from_sql",
    ] {
        let sql = format!("select count(*) from {what}");
        assert_eq!(count(conn, &sql).await, 0, "{what} after {after}");
    }
    let error = text(conn, "select lastval()::text").await.unwrap_err();
    assert!(
        error.to_string().contains("not yet defined"),
        "{error} after {after}"
    );
}

const UNDOABLE: [&str; 16] = [
    "set search_path = public",
    "set time zone 'UTC'",
    "set statement_timeout = '5s'",
    "set role pg_monitor",
    "set session authorization pg_monitor",
    "set session characteristics as transaction isolation level serializable read only",
    "listen c",
    "create temp table scratch (a int)",
    "select 1 as a into temp scratch",
    "select pg_advisory_lock(7)",
    "declare held cursor with hold for select 1",
    "select nextval('app.orders_id_seq')",
    "select set_config('app.tenant', 'a', false)",
    "select app.set_tenant('a')",
    "select set_tenant('a') from (values (1)) v (x)",
    "do $$ begin perform app.set_tenant('a'); perform pg_advisory_lock(8); end $$",
];

/// case R30, case F3, case F4, req 4.07, req 4.40: by a simple query and by a prepared statement, with diesel's
/// own statements as good after the reset as before.
#[tokio::test]
async fn the_next_borrower_finds_a_clean_session_on_the_same_backend() {
    let db = database().await;
    let pool = open(&db, profile()).await;
    let mut conn = pool.get().await.unwrap();
    let pid = count(&mut conn, "select pg_backend_pid()::int8").await;
    assert_eq!(cached(&mut conn, 7).await, 7);
    drop(conn);
    for (resets, dirty) in (1..).step_by(2).zip(UNDOABLE) {
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute(dirty).await.unwrap();
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        assert_eq!(count(&mut conn, "select pg_backend_pid()::int8").await, pid);
        assert_clean(&mut conn, db.role().name(), dirty).await;
        assert_eq!(cached(&mut conn, 8).await, 8);
        assert_eq!(pool.status().resets, resets, "{dirty}");
        diesel::sql_query(dirty).execute(&mut conn).await.unwrap();
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        assert_clean(&mut conn, db.role().name(), dirty).await;
        assert_eq!(cached(&mut conn, 9).await, 9);
        assert_eq!(pool.status().resets, resets + 1, "{dirty}");
    }
    let status = pool.status();
    assert_eq!(
        (status.connects.opened, status.closed.discarded),
        (1, 0),
        "{status:?}"
    );
    pool.rests().await;
}

/// case R30: a change that no reset undoes costs the connection, however it was made.
#[tokio::test]
async fn a_statement_prepared_by_sql_costs_the_connection() {
    let db = database().await;
    let pool = open(&db, profile()).await;
    for (discarded, dirty) in (1..).zip(["prepare app_plan as select 1", "select app.prepare()"]) {
        let mut conn = pool.get().await.unwrap();
        conn.batch_execute(dirty).await.unwrap();
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        assert_clean(&mut conn, db.role().name(), dirty).await;
        let status = pool.status();
        assert_eq!(
            (status.closed.discarded, status.resets),
            (discarded, 0),
            "{status:?}"
        );
    }
    pool.rests().await;
}

/// req 4.07: ordinary holders cause no reset; the server has seen nothing after their last statement.
#[tokio::test]
async fn a_clean_borrower_costs_the_server_nothing() {
    let db = database().await;
    let pool = Pool::connect(url(&db.url()), profile()).await.unwrap();
    for uses in 1..4 {
        let mut conn = pool.get().await.unwrap();
        diesel::sql_query("insert into orders (n) values ($1) on conflict (id) do nothing")
            .bind::<Integer, _>(1)
            .execute(&mut conn)
            .await
            .unwrap();
        conn.transaction(async |conn| {
            conn.batch_execute("set local statement_timeout = '9s'")
                .await?;
            text(conn, "select set_config('app.tenant', 'a', true)").await?;
            diesel::sql_query("select pg_advisory_xact_lock(1)")
                .execute(conn)
                .await?;
            diesel::QueryResult::Ok(())
        })
        .await
        .unwrap();
        let orders = count(&mut conn, "select count(*) + lower('0')::int from orders").await;
        assert_eq!(orders, uses);
        drop(conn);
        let [backend] = db.backends("app-db").await.unwrap().try_into().unwrap();
        assert_eq!(backend.state, "idle");
        assert!(backend.query.contains("lower('0')"), "{backend:?}");
    }
    assert_eq!(
        (pool.status().resets, pool.status().closed.discarded),
        (0, 0)
    );
}

/// R30: a notification that its listener has not read is not the next one's.
#[tokio::test]
async fn notifications_go_with_their_listener() {
    let db = database().await;
    let pool = open(&db, profile()).await;
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("listen c").await.unwrap();
    for _ in 0..300 {
        conn.batch_execute("notify c").await.unwrap();
    }
    drop(conn);
    let mut conn = pool.get().await.unwrap();
    assert_eq!(cached(&mut conn, 1).await, 1);
    let unread = Box::pin(conn.notifications_stream()).next().now_or_never();
    assert!(unread.is_none());
    drop(conn);
    assert_eq!(pool.status().resets, 1);
    pool.rests().await;
}

/// F4: a role that the URL states is what a session returns to.
#[tokio::test]
async fn a_role_of_the_url_outlasts_the_reset() {
    let db = database().await;
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let with_role = format!("{}{separator}options=-c%20role%3Dpg_monitor", db.url());
    let pool = open_at(&db, &with_role, profile()).await;
    for _ in 0..2 {
        let mut conn = pool.get().await.unwrap();
        assert_eq!(setting(&mut conn, "role").await, "pg_monitor");
        conn.batch_execute("reset session authorization; set role none")
            .await
            .unwrap();
    }
    assert_eq!(
        (
            pool.status().connects.opened,
            pool.status().closed.discarded
        ),
        (1, 0)
    );
    pool.rests().await;
}

/// On a standby the reset is allowed as well.
#[tokio::test]
async fn a_session_on_a_standby_is_reset() {
    let cluster = harness::Cluster::start(harness::ClusterOptions::default())
        .await
        .unwrap();
    let standby = cluster.replica("replica1").await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    standby.caught_up_with(&cluster).await.unwrap();
    let through = harness::through_port(&db.url(), standby.port());
    let pool = Pool::connect(url(&through), profile()).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("set statement_timeout = '5s'; select pg_advisory_lock(1)")
        .await
        .unwrap();
    drop(conn);
    let mut conn = pool.get().await.unwrap();
    assert_eq!(setting(&mut conn, "statement_timeout").await, "31s");
    assert_eq!(
        (pool.status().resets, pool.status().closed.discarded),
        (1, 0)
    );
}

/// `reset = "never"` and `"always"`
#[tokio::test]
async fn the_profile_can_say_never_and_always() {
    let db = database().await;
    let pool = Pool::connect(url(&db.url()), with_reset(Reset::Never))
        .await
        .unwrap();
    pool.get()
        .await
        .unwrap()
        .batch_execute("set time zone 'UTC'")
        .await
        .unwrap();
    let mut conn = pool.get().await.unwrap();
    assert_eq!(setting(&mut conn, "TimeZone").await, "UTC");
    assert_eq!(pool.status().resets, 0);
    drop(conn);

    // A trigger is nothing that a text shows.
    db.sql(
        "create function app.leak() returns trigger language plpgsql as \
         $$ begin perform set_config('app.tenant', 'a', false); return new; end $$; \
         create trigger leak before insert on app.orders for each row execute function app.leak()",
    )
    .await
    .unwrap();
    let pool = Pool::connect(url(&db.url()), with_reset(Reset::Always))
        .await
        .unwrap();
    for uses in 1..4 {
        let mut conn = pool.get().await.unwrap();
        assert_eq!(setting(&mut conn, "app.tenant").await, "");
        assert_eq!(
            pool.status().resets,
            uses,
            "including the reset of `connect`"
        );
        conn.batch_execute("insert into orders (n) values (1)")
            .await
            .unwrap();
    }
}

/// The last error is the borrower's own.
#[tokio::test]
async fn an_error_is_not_told_to_the_next_borrower() {
    let db = database().await;
    let pool = Pool::connect(url(&db.url()), profile()).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    conn.batch_execute("select 1/0").await.unwrap_err();
    assert!(plumbing::observed(&conn).last_error().is_some());
    drop(conn);
    let conn = pool.get().await.unwrap();
    assert!(plumbing::observed(&conn).last_error().is_none());
    assert_eq!(
        plumbing::observed(&conn).errors(),
        1,
        "it is the same connection"
    );
}
