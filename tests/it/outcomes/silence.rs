//! A silent server: every call ends, and the error names the cause.

use std::time::{Duration, Instant};

use app_db::{Database, Diagnosis, Error, Kind, PoolError};
use diesel_async::SimpleAsyncConnection;
use harness::{
    Bouncer, BouncerOptions, Cluster, ClusterOptions, Fault, PoolMode, Proxy, TestDatabase,
};
use tokio::time::timeout;

use super::told;
use crate::transaction::{bump, database, prepared};

/// Bounds statements at one second, so that every call ends five seconds later at the latest.
const BOUNDED: (&str, &str) = ("APP_DB__PROFILE__STATEMENT_TIMEOUT", "1s");
const AT_MOST: Duration = Duration::from_secs(6);

/// A machine that is busy with other tests may be late by this.
const LATE: Duration = Duration::from_secs(2);

async fn on_a_private_cluster(more: &[(&str, &str)]) -> (Cluster, TestDatabase, Database) {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    db.sql("create table t (id int primary key, n bigint not null default 0); insert into t values (1, 0); grant all on t to public")
        .await
        .unwrap();
    let vars: Vec<_> = [BOUNDED].iter().chain(more).copied().collect();
    let database = database(&db.url(), &vars).await;
    (cluster, db, database)
}

async fn ends<T>(call: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let ended = timeout(AT_MOST + LATE, call)
        .await
        .unwrap_or_else(|_elapsed| panic!("the call has no end"));
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1),
        "nobody was given up before its time: {took:?}"
    );
    ended
}

/// All processes of the server are stopped: statements, work and COMMIT end by themselves, with what is known of them.
#[tokio::test]
async fn every_call_ends_when_all_processes_are_stopped() {
    let (cluster, _db, database) = on_a_private_cluster(&[]).await;
    let mut plain = [database.get().await.unwrap(), database.get().await.unwrap()];
    for conn in &mut plain {
        conn.batch_execute("select 1").await.unwrap();
    }
    let [mut reader, mut writer] = plain;
    let (begun, mut begins) = tokio::sync::oneshot::channel();
    let (go_on, frozen) = tokio::sync::oneshot::channel::<()>();
    let working = {
        let database = database.clone();
        tokio::spawn(async move {
            let mut once = Some((begun, frozen));
            database
                .transaction()
                .run_once(async move |conn| {
                    bump(conn, 1).await?;
                    if let Some((begun, frozen)) = once.take() {
                        let _told = begun.send(());
                        let _goes_on = frozen.await;
                    }
                    Ok::<_, Error>(())
                })
                .await
        })
    };
    (&mut begins).await.unwrap();
    let stopped = cluster.freeze().unwrap();
    let _told = go_on.send(());
    let (read, wrote, worked, wrote_by_helper) = ends(async {
        tokio::join!(
            reader.batch_execute("select 1"),
            writer.batch_execute("update t set n = n + 1"),
            working,
            database.write(async |conn| bump(conn, 1).await.map_err(Error::from)),
        )
    })
    .await;
    assert_eq!(Error::from(read.unwrap_err()).kind(), Kind::Down);
    let wrote = Error::from(wrote.unwrap_err());
    assert_eq!(
        told(&wrote),
        (Kind::OutcomeUnknown, Some("08007".to_owned())),
        "{wrote:?}"
    );
    assert!(wrote.report().contains("the server is silent"), "{wrote:?}");
    let committed = worked.unwrap().unwrap_err();
    assert!(
        matches!(committed, Error::CommitUnknown(_)),
        "{committed:?}"
    );
    let helper = wrote_by_helper.unwrap_err();
    assert_eq!(helper.kind(), Kind::Down, "{helper:?}");
    stopped.thaw();
}

/// One process of the server is stopped, and the server is well: the holder of that connection is not kept for ever.
#[tokio::test]
async fn a_call_ends_when_its_own_process_is_stopped() {
    let (cluster, _db, database) = on_a_private_cluster(&[]).await;
    let mut conn = database.get().await.unwrap();
    conn.batch_execute("select 1").await.unwrap();
    let stopped = cluster.freeze_backend(conn.backend_pid());
    let error = ends(conn.batch_execute("select 1")).await.unwrap_err();
    assert_eq!(Error::from(error).kind(), Kind::Down);
    drop(conn);
    stopped.thaw();
    drop(database.get().await.unwrap());
}

/// A network that has forgotten a connection: the answer does not come, for a text to be prepared either.
#[tokio::test]
async fn a_call_ends_when_the_network_holds_the_answer_back() {
    let (db, _direct) = prepared().await;
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let database = database(&db.proxied_url(&proxy), &[BOUNDED]).await;
    let mut conn = database.get().await.unwrap();
    proxy.set(Fault::HoldReplies).await;
    let error = ends(bump(&mut conn, 1)).await.unwrap_err();
    assert_eq!(Error::from(error).kind(), Kind::Down);
}

/// A PgBouncer that is paused and stays so.
#[tokio::test]
async fn a_call_ends_when_the_pooler_is_paused() {
    let (db, _direct) = prepared().await;
    let bouncer = Bouncer::start(db.server(), BouncerOptions::mode(PoolMode::Transaction))
        .await
        .unwrap();
    let database = database(&db.pooled_url(&bouncer), &[BOUNDED]).await;
    database
        .read(async |conn| conn.batch_execute("select 1").await)
        .await
        .unwrap();
    bouncer.command("PAUSE").await.unwrap();
    let read = ends(database.read(async |conn| conn.batch_execute("select 1").await)).await;
    assert_eq!(Error::from(read.unwrap_err()).kind(), Kind::Down);
    bouncer.command("RESUME").await.unwrap();
    database
        .read(async |conn| conn.batch_execute("select 1").await)
        .await
        .unwrap();
}

/// A pause of three seconds, as for a restart of the server behind the pooler, is waited for and nobody notices.
#[tokio::test]
async fn a_pause_of_three_seconds_goes_unnoticed() {
    let (db, _direct) = prepared().await;
    let bouncer = Bouncer::start(db.server(), BouncerOptions::mode(PoolMode::Transaction))
        .await
        .unwrap();
    let database = database(&db.pooled_url(&bouncer), &[BOUNDED]).await;
    database
        .write(async |conn| bump(conn, 1).await)
        .await
        .unwrap();
    bouncer.command("PAUSE").await.unwrap();
    let writing = database.write(async |conn| bump(conn, 1).await);
    let resuming = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        bouncer.command("RESUME").await.unwrap();
    };
    let (wrote, ()) = tokio::join!(writing, resuming);
    wrote.unwrap();
}

/// The pool never gives up on a healthy server: statements may take as long as their own `statement_timeout` allows,
/// however it was set, and any time if there is none.
#[tokio::test]
async fn a_report_on_a_healthy_server_is_not_cut() {
    let (_db, direct) = prepared().await;
    drop(direct);
    let (db, _own) = prepared().await;
    let database = database(&db.url(), &[BOUNDED]).await;
    const REPORT: &str = "select pg_sleep(7)";
    let by_option = async {
        let transaction = database
            .transaction()
            .statement_timeout(Duration::from_secs(60));
        transaction
            .run(async |conn| conn.batch_execute(REPORT).await)
            .await
    };
    let by_set_local = database.write(async |conn| {
        conn.batch_execute("set local statement_timeout = '1min'")
            .await?;
        conn.batch_execute(REPORT).await
    });
    let by_function = database.write(async |conn| {
        let set = "select set_config('statement_timeout', '0', true)";
        diesel_async::RunQueryDsl::execute(diesel::sql_query(set), conn).await?;
        conn.batch_execute(REPORT).await
    });
    let by_session = async {
        let mut conn = database.get().await.unwrap();
        conn.batch_execute("set statement_timeout = 0").await?;
        conn.batch_execute(REPORT).await
    };
    let (one, two, three, four) = tokio::join!(by_option, by_set_local, by_function, by_session);
    for outcome in [one, two, three, four] {
        outcome.unwrap();
    }
}

/// Where no statement has a bound, the key `answer_timeout` is one.
#[tokio::test]
async fn without_a_statement_timeout_the_answer_timeout_ends_a_call() {
    let more = [
        ("APP_DB__PROFILE__STATEMENT_TIMEOUT", "0s"),
        ("APP_DB__PROFILE__ANSWER_TIMEOUT", "2s"),
    ];
    let (cluster, _db, database) = on_a_private_cluster(&more).await;
    let mut conn = database.get().await.unwrap();
    let stopped = cluster.freeze().unwrap();
    let error = ends(conn.batch_execute("select 1")).await.unwrap_err();
    assert_eq!(Error::from(error).kind(), Kind::Down);
    stopped.thaw();
}

fn diagnosis(error: Error) -> (Diagnosis, String) {
    let text = error.report();
    let kind = error.kind();
    match error {
        Error::Pool(PoolError::Timeout { diagnosis, .. }) => {
            let is_silence = text.contains("is silent");
            assert_eq!(
                kind,
                if is_silence { Kind::Down } else { Kind::Busy },
                "{text}"
            );
            (*diagnosis, text)
        }
        other => panic!("{other:?}"),
    }
}

/// If the holders wait for a silent server, the error of a waiting caller says that, and not that the pool is too small
/// or transactions are too long.
#[tokio::test]
async fn a_silent_server_is_a_cause_of_its_own() {
    let more = [
        ("APP_DB__PROFILE__STATEMENT_TIMEOUT", "30s"),
        ("APP_DB__PROFILE__MAX", "2"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "2s"),
    ];
    let (cluster, _db, database) = on_a_private_cluster(&more).await;
    let mut held = [database.get().await.unwrap(), database.get().await.unwrap()];
    for conn in &mut held {
        conn.batch_execute("begin; select 1").await.unwrap();
    }
    let stopped = cluster.freeze().unwrap();
    let [one, two] = &mut held;
    let asking =
        async { tokio::join!(one.batch_execute("select 1"), two.batch_execute("select 1")) };
    let outcome = tokio::select! {
        _answered = asking => panic!("nobody answers"),
        outcome = database.get() => outcome,
    };
    let (found, text) = diagnosis(outcome.unwrap_err());
    assert!(
        matches!(found, Diagnosis::ServerSilent { held: 2 }),
        "{text}"
    );
    assert!(text.contains("the server is silent"), "{text}");
    stopped.thaw();
    // A server that is well is not silent, however long its statements take.
    let [one, two] = &mut held;
    let asking = async {
        tokio::join!(
            one.batch_execute("select pg_sleep(20)"),
            two.batch_execute("select pg_sleep(20)")
        )
    };
    let outcome = tokio::select! {
        _answered = asking => panic!("they sleep"),
        outcome = database.get() => outcome,
    };
    let (found, text) = diagnosis(outcome.unwrap_err());
    assert!(matches!(found, Diagnosis::LongTransaction { .. }), "{text}");
}

#[tokio::test]
async fn a_paused_pooler_is_a_cause_of_its_own() {
    let (db, _direct) = prepared().await;
    let bouncer = Bouncer::start(db.server(), BouncerOptions::mode(PoolMode::Transaction))
        .await
        .unwrap();
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "2s"),
    ];
    let database = database(&db.pooled_url(&bouncer), &more).await;
    let mut held = database.get().await.unwrap();
    bouncer.command("PAUSE").await.unwrap();
    let outcome = tokio::select! {
        _answered = held.batch_execute("select 1") => panic!("nobody answers"),
        outcome = database.get() => outcome,
    };
    let (found, text) = diagnosis(outcome.unwrap_err());
    assert!(
        matches!(found, Diagnosis::PoolerSilent { held: 1 }),
        "{text}"
    );
    assert!(text.contains("paused"), "{text}");
    bouncer.command("RESUME").await.unwrap();
}

/// A task that waits for the connection that it holds itself.
#[tokio::test]
async fn a_task_that_holds_what_it_waits_for_is_told_so() {
    let (db, _direct) = prepared().await;
    let more = [
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "300ms"),
    ];
    let database = database(&db.url(), &more).await;
    let waiting = tokio::spawn(async move {
        let _own = database.get().await.unwrap();
        database.get().await.unwrap_err()
    });
    let (found, text) = diagnosis(waiting.await.unwrap());
    assert!(matches!(found, Diagnosis::HeldByItself { .. }), "{text}");
    assert!(
        text.contains("the waiting task itself has held one since tests/it/outcomes/silence.rs:"),
        "{text}"
    );
}
