//! What a session is set to, directly and through PgBouncer.

use app_db::{Config, Environment, Pool, PoolProfile};
use db_pool::PoolerMode;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Bouncer, BouncerOptions, PoolMode, TestDatabase};

use crate::at_rest::open;
use crate::pool::url;

async fn setting(conn: &mut AsyncPgConnection, name: &str) -> String {
    diesel::dsl::sql::<Text>("select current_setting(")
        .bind::<Text, _>(name)
        .sql(")")
        .get_result(conn)
        .await
        .unwrap()
}

fn profile() -> PoolProfile {
    let mut profile = PoolProfile::of(&Environment::Test);
    profile.min_idle = 0;
    profile.application_name = "harca_memory_system".to_owned();
    profile.search_path = Some("mid_term, long_term, vector, public".to_owned());
    profile.timezone = "Asia/Tokyo".to_owned();
    profile.lock_timeout = Some(std::time::Duration::from_millis(1500));
    profile
}

async fn assert_settings(conn: &mut AsyncPgConnection) {
    for (name, value) in [
        ("application_name", "harca_memory_system"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "1500ms"),
        ("search_path", "mid_term, long_term, vector, public"),
        ("default_transaction_isolation", "read committed"),
        ("client_encoding", "UTF8"),
        ("TimeZone", "Asia/Tokyo"),
        ("idle_in_transaction_session_timeout", "1min"),
    ] {
        assert_eq!(setting(conn, name).await, value, "{name}");
    }
}

/// If a session may be shared, settings that change no result are sent only in transactions.
async fn assert_settings_in_a_transaction(conn: &mut AsyncPgConnection) {
    conn.transaction(async |conn| {
        assert_settings(conn).await;
        diesel::QueryResult::Ok(())
    })
    .await
    .unwrap();
}

/// req 2.07, req 2.20, req 2.21, req 2.22, req 2.23, req 2.24, req 2.25: and `RESET ALL` returns to them
/// (failure case F4).
#[tokio::test]
async fn settings_travel_in_the_startup_packet() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = profile();
    profile.timezone = "UTC".to_owned();
    let pool = open(&db, profile.clone()).await;
    let mut conn = pool.get().await.unwrap();
    assert_eq!(setting(&mut conn, "statement_timeout").await, "30s");
    diesel::sql_query("set statement_timeout = 1")
        .execute(&mut conn)
        .await
        .unwrap();
    diesel::sql_query("reset all")
        .execute(&mut conn)
        .await
        .unwrap();
    assert_eq!(setting(&mut conn, "statement_timeout").await, "30s");
    assert_eq!(
        setting(&mut conn, "search_path").await,
        "mid_term, long_term, vector, public"
    );
    drop(conn);
    pool.rests().await;

    profile.timezone = "Asia/Tokyo".to_owned();
    let pool = open(&db, profile).await;
    assert_settings(&mut pool.get().await.unwrap()).await;
    pool.rests().await;
}

/// req 4.19: a pool has the rights of its role, also after a borrower took another one, and also where the
/// session is shared or the pooler takes no options.
#[tokio::test]
async fn a_pool_has_the_rights_of_its_role() {
    let db = TestDatabase::empty().await.unwrap();
    let reader = format!("{}_reader", db.name());
    let user = db.role().name();
    db.sql(&format!("create role {reader}; grant {reader} to {user}"))
        .await
        .unwrap();
    let mut bouncers = Vec::new();
    let mut ways = vec![(db.url(), PoolerMode::Auto)];
    for (mode, configured) in [
        (PoolMode::Session, PoolerMode::Session),
        (PoolMode::Transaction, PoolerMode::Auto),
    ] {
        let bouncer = Bouncer::start(db.server(), BouncerOptions::mode(mode));
        let bouncer = bouncer.await.unwrap();
        ways.push((db.pooled_url(&bouncer), configured));
        bouncers.push(bouncer);
    }
    let who = "select current_user::text || ' ' || session_user::text";
    for (way, pooler) in ways {
        let mut profile = PoolProfile::of(&Environment::Test);
        (profile.min_idle, profile.max) = (0, 1);
        profile.pooler = pooler;
        profile.role = Some(reader.clone());
        let pool = Pool::connect(url(&way), profile).await.unwrap();
        for _ in 0..2 {
            let mut conn = pool.get().await.unwrap();
            let seen: String = diesel::dsl::sql::<Text>(who)
                .get_result(&mut conn)
                .await
                .unwrap();
            assert_eq!(seen, format!("{reader} {user}"), "{pooler:?}");
            let other = format!("begin; set local role {user}; commit");
            conn.batch_execute(&other).await.unwrap();
            // Refused where the session is shared.
            let _other = conn.batch_execute(&format!("set role {user}")).await;
        }
    }
    drop(bouncers);
    db.sql(&format!("drop role {reader}")).await.unwrap();
}

/// req 2.20, req 2.21, req 2.22, req 2.23, req 2.24, req 2.25: a pooler that refuses `options` gets
/// the settings after connect, on every connection.
#[tokio::test]
async fn settings_arrive_through_a_session_pooler() {
    let db = TestDatabase::empty().await.unwrap();
    let bouncer = Bouncer::start(db.server(), BouncerOptions::mode(PoolMode::Session))
        .await
        .unwrap();
    let pool = Pool::connect(url(&db.pooled_url(&bouncer)), profile())
        .await
        .unwrap();
    let (mut one, mut two) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    for conn in [&mut one, &mut two] {
        assert_settings_in_a_transaction(conn).await;
    }
    assert_eq!(pool.status().connects.failed, 0);
}

/// req 2.23: through the URL, as libpq reads it; the URL wins over the profile.
#[tokio::test]
async fn the_urls_own_settings_win() {
    let db = TestDatabase::empty().await.unwrap();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let with_settings = format!(
        "{}{separator}application_name=own&statement_timeout=7000&options=-c%20lock_timeout%3D3s%20-c%20search_path%3Da,%5C%20b",
        db.url()
    );
    let pool = Pool::connect(url(&with_settings), profile()).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    for (name, value) in [
        ("application_name", "own"),
        ("statement_timeout", "7s"),
        ("lock_timeout", "3s"),
        ("search_path", "a, b"),
    ] {
        assert_eq!(setting(&mut conn, name).await, value, "{name}");
    }
}

/// req 1.06, req 1.10: the lambda profile holds one connection and none ahead.
#[tokio::test]
async fn the_lambda_profile_holds_one_connection() {
    let db = TestDatabase::empty().await.unwrap();
    let vars = [
        ("APP_ENV".to_owned(), "lambda".to_owned()),
        ("DATABASE_URL".to_owned(), db.url()),
    ];
    let config = Config::load_from(std::path::Path::new("/var/empty/none"), vars).unwrap();
    let database = app_db::Database::connect(&config).await.unwrap();
    let held = database.get().await.unwrap();
    assert_eq!(db.backends("app-db").await.unwrap().len(), 1);
    drop(held);
    assert_eq!(
        (database.status()[0].max, database.status()[0].open),
        (1, 1)
    );
}

/// case R50: the server splits `options` at a vertical tab too, which must not become a setting.
#[tokio::test]
async fn a_vertical_tab_in_a_setting_is_part_of_it() {
    let db = TestDatabase::empty().await.unwrap();
    let mut profile = profile();
    profile.lock_timeout = None;
    // Quoted, because newer servers read the tab as a blank between schemas.
    profile.search_path = Some("\"public\u{b}-clock_timeout=1234\"".to_owned());
    let pool = Pool::connect(url(&db.url()), profile).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    assert_eq!(setting(&mut conn, "lock_timeout").await, "0");
    assert_eq!(
        setting(&mut conn, "search_path").await,
        "\"public\u{b}-clock_timeout=1234\""
    );
}

/// req 2.20, req 2.21, req 2.22, req 2.23, req 2.24, req 2.25: a pooler that is told to ignore
/// `options` gets the settings after connect as well.
#[tokio::test]
async fn settings_arrive_through_a_pooler_that_ignores_options() {
    let db = TestDatabase::empty().await.unwrap();
    let ignoring =
        BouncerOptions::mode(PoolMode::Session).setting("ignore_startup_parameters", "options");
    let bouncer = Bouncer::start(db.server(), ignoring).await.unwrap();
    let pool = Pool::connect(url(&db.pooled_url(&bouncer)), profile())
        .await
        .unwrap();
    assert_settings_in_a_transaction(&mut pool.get().await.unwrap()).await;
}
