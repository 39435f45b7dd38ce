//! Settings are in force for our use of a shared session, and not for others.

use db_pool::plumbing;
use std::time::Duration;

use app_db::{Pool, PoolProfile};
use db_pool::PoolerMode;
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use harness::{Bouncer, PoolMode, TestDatabase};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::{Version, through};
use crate::at_rest::open_at;
use crate::pool::{sized, url};

/// The settings of our sessions. None of them is a server's default.
const OURS: [(&str, &str); 5] = [
    ("statement_timeout", "345ms"),
    ("lock_timeout", "234ms"),
    ("search_path", "mid_term, \"o'brien\", public"),
    ("default_transaction_isolation", "repeatable read"),
    ("idle_in_transaction_session_timeout", "56s"),
];

fn profile() -> PoolProfile {
    let mut profile = sized(3);
    profile.statement_timeout = Some(Duration::from_millis(345));
    profile.lock_timeout = Some(Duration::from_millis(234));
    profile.search_path = Some("mid_term, \"o'brien\", public".to_owned());
    profile.default_transaction_isolation = "repeatable read".to_owned();
    profile.idle_in_transaction_session_timeout = Some(Duration::from_secs(56));
    profile
}

async fn setting(conn: &mut AsyncPgConnection, name: &str) -> String {
    diesel::dsl::sql::<Text>("select current_setting(")
        .bind::<Text, _>(name)
        .sql(")")
        .get_result(conn)
        .await
        .unwrap()
}

/// Outside a transaction the pool sends only settings that change a result: it watches the statement
/// timeout itself.
async fn assert_ours_outside(conn: &mut AsyncPgConnection) {
    assert_all_of(&OURS[1..3], conn).await;
}

async fn assert_ours(conn: &mut AsyncPgConnection) {
    assert_all_of(&OURS, conn).await;
}

/// Twice, so that the second is answered with a statement that is known already.
async fn assert_all_of(ours: &[(&str, &str)], conn: &mut AsyncPgConnection) {
    for _ in 0..2 {
        for (name, value) in ours {
            assert_eq!(setting(conn, name).await, *value, "{name}");
        }
        // A default has no use if the transaction does not begin with it.
        assert_eq!(
            setting(conn, "transaction_isolation").await,
            "repeatable read"
        );
    }
}

/// The isolation level that a simple query runs at; it has no other way to say so.
async fn assert_level_of_simple_query(conn: &mut AsyncPgConnection) {
    let check = "do $$ begin if current_setting('transaction_isolation') <> 'repeatable read' then \
         raise exception '%', current_setting('transaction_isolation'); end if; end $$";
    conn.batch_execute(check).await.unwrap();
}

/// A second client of the same PgBouncer, which knows nothing of us.
struct Stranger(Client);

impl Stranger {
    async fn connect(db: &TestDatabase, bouncer: &Bouncer) -> Self {
        let (client, connection) = tokio_postgres::connect(&db.pooled_url(bouncer), NoTls)
            .await
            .unwrap();
        harness::beside(connection);
        Self(client)
    }

    /// Everything that differs from the server's own configuration, as the stranger's statement sees it.
    async fn settings(&self) -> Vec<String> {
        let names = OURS.map(|(name, _)| format!("'{name}'")).join(", ");
        let query = format!(
            "select name || ' = ' || setting from pg_settings where name in ({names}, \
             'transaction_isolation', 'transaction_read_only') order by 1"
        );
        let answer = self.0.simple_query(&query).await.unwrap();
        let rows = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        rows.collect()
    }
}

/// case R32, case F3: the next client on the same server connection sees nothing of what ours did.
#[tokio::test]
async fn settings_are_in_force_for_us_and_do_not_leak_to_others() {
    let db = TestDatabase::empty().await.unwrap();
    db.sql("create table t (id int primary key); grant all on t to public")
        .await
        .unwrap();
    for version in Version::ALL {
        let Some(options) = version.options(PoolMode::Transaction) else {
            continue;
        };
        // One server connection: everybody is on it.
        let bouncer = Bouncer::start(db.server(), options.pool_size(1))
            .await
            .unwrap();
        let stranger = Stranger::connect(&db, &bouncer).await;
        let before = stranger.settings().await;
        assert_eq!(before.len(), 7, "{before:?}");
        let pool = open_at(&db, &db.pooled_url(&bouncer), profile()).await;
        let mut conn = pool.get().await.unwrap();

        assert_ours_outside(&mut conn).await;
        assert_level_of_simple_query(&mut conn).await;
        assert_eq!(stranger.settings().await, before, "{version:?}: autocommit");

        conn.transaction(async |conn| {
            assert_ours(conn).await;
            diesel::QueryResult::Ok(())
        })
        .await
        .unwrap();
        assert_eq!(stranger.settings().await, before, "{version:?}: commit");

        conn.batch_execute("insert into t values (1) on conflict do nothing; select 1")
            .await
            .unwrap();
        conn.batch_execute("select 1/0").await.unwrap_err();
        diesel::sql_query("insert into t values (1)")
            .execute(&mut conn)
            .await
            .unwrap_err();
        let failed: diesel::QueryResult<()> = conn
            .transaction(async |conn| {
                diesel::sql_query("insert into t values (1)")
                    .execute(conn)
                    .await?;
                Ok(())
            })
            .await;
        failed.unwrap_err();
        assert_eq!(stranger.settings().await, before, "{version:?}: errors");

        assert_ours_outside(&mut conn).await;
        drop(conn);
        assert_eq!(pool.status().closed.discarded, 0);
        pool.rests().await;
    }
}

/// case R32: the statement timeout acts, in every way in which a statement can be sent.
#[tokio::test]
async fn a_statement_timeout_acts_in_autocommit_and_in_transactions() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let pool = Pool::connect(url(&db.pooled_url(&bouncer)), profile())
            .await
            .unwrap();
        let mut conn = pool.get().await.unwrap();
        let assert_timed_out = |conn: &app_db::Connection, how: &str| {
            let error = plumbing::observed(conn).last_error().unwrap();
            assert_eq!(error.sqlstate().code(), "57014", "{version:?} {how}");
        };
        for _ in 0..2 {
            let sleep = diesel::sql_query("select pg_sleep(10)");
            sleep.execute(&mut conn).await.unwrap_err();
            assert_timed_out(&conn, "sql_query");
        }
        conn.batch_execute("select pg_sleep(10)").await.unwrap_err();
        assert_timed_out(&conn, "batch_execute");
        let in_transaction = conn
            .transaction(async |conn| diesel::sql_query("select pg_sleep(10)").execute(conn).await)
            .await;
        assert!(in_transaction.is_err(), "{version:?}: in a transaction");
        assert_timed_out(&conn, "transaction");
        let in_batch = conn
            .transaction(async |conn| conn.batch_execute("select pg_sleep(10)").await)
            .await;
        in_batch.unwrap_err();
        assert_timed_out(&conn, "batch_execute in a transaction");
    }
}

/// case R32: a PgBouncer that takes `options` and forgets them does not take our settings away.
#[tokio::test]
async fn settings_are_in_force_where_pgbouncer_ignores_options() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        for (mode, told) in [
            (PoolMode::Transaction, PoolerMode::Auto),
            (PoolMode::Session, PoolerMode::Auto),
            (PoolMode::Session, PoolerMode::Session),
        ] {
            let Some(options) = version.options(mode) else {
                continue;
            };
            let options = options.setting("ignore_startup_parameters", "options");
            let bouncer = Bouncer::start(db.server(), options).await.unwrap();
            let mut profile = profile();
            profile.pooler = told;
            let pool = Pool::connect(url(&db.pooled_url(&bouncer)), profile)
                .await
                .unwrap();
            let mut conn = pool.get().await.unwrap();
            assert_ours_outside(&mut conn).await;
            conn.transaction(async |conn| {
                assert_ours(conn).await;
                diesel::QueryResult::Ok(())
            })
            .await
            .unwrap();
        }
    }
}

/// case R27, case R32: the options of one transaction do not stay for the next one.
#[tokio::test]
async fn options_of_a_transaction_do_not_stay() {
    let db = TestDatabase::empty().await.unwrap();
    for version in Version::ALL {
        let Some(bouncer) = version.start(db.server()).await else {
            continue;
        };
        let database = through(&db, &bouncer, &[]).await;
        let seen = async |conn: &mut AsyncPgConnection| {
            let isolation = setting(conn, "transaction_isolation").await;
            let read_only = setting(conn, "transaction_read_only").await;
            diesel::QueryResult::Ok((isolation, read_only))
        };
        let in_order: [(diesel::QueryResult<_>, _); 4] = [
            (
                database.transaction().serializable().run(seen).await,
                ("serializable", "off"),
            ),
            (database.write(seen).await, ("read committed", "off")),
            (database.read(seen).await, ("read committed", "on")),
            (
                database.transaction().repeatable_read().run(seen).await,
                ("repeatable read", "off"),
            ),
        ];
        for (seen, (isolation, read_only)) in in_order {
            assert_eq!(seen.unwrap(), (isolation.into(), read_only.into()));
        }
        let mut conn = database.get().await.unwrap();
        assert_eq!(
            seen(&mut conn).await.unwrap(),
            ("read committed".into(), "off".into())
        );
    }
}
