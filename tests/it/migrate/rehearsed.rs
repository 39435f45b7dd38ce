//! A plan that is tried out and rolled back.

use std::time::Duration;

use app_db::{EmbeddedMigration, LockMode, MigrateError};
use harness::TestDatabase;

use super::{failed, fails_at_commit, migrator, server_state, table};

/// Everything that is there, and every lock that a migrator has.
async fn relations(database: &TestDatabase) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace) \
               + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = \
               (SELECT oid FROM pg_database WHERE datname = current_database()))";
    database.scalar(sql).await.unwrap()
}

#[tokio::test]
async fn a_rehearsal_shows_what_is_really_locked_and_leaves_nothing() {
    let database = TestDatabase::empty().await.unwrap();
    let first = [table(1), table(2)];
    // Without a history too: it is made for the rehearsal alone.
    let new = migrator(&database.url(), &first).rehearse().await.unwrap();
    assert!(new.iter().all(|m| m.statements[0].rehearsed.is_some()));
    assert_eq!(relations(&database).await, 0);

    migrator(&database.url(), &first).run().await.unwrap();
    let before = relations(&database).await;
    let pending = [
        EmbeddedMigration::new(
            "3_hidden",
            "do $$ begin alter table t1 add column a int; end $$;\n\
             drop table t2; select a from t1",
        ),
        table(4),
        EmbeddedMigration::new("5_index", "create index concurrently t1_a on t1(a)")
            .with_metadata("run_in_transaction = false"),
        table(6),
    ];
    let migrator = migrator(&database.url(), &pending);
    let plan = migrator.rehearse().await.unwrap();
    let locks = |migration: usize, statement: usize| {
        let rehearsed = plan[migration].statements[statement].rehearsed.as_ref();
        let locks = rehearsed?.locks.iter();
        Some(
            locks
                .map(|lock| (lock.relation.as_str(), lock.lock_mode))
                .collect::<Vec<_>>(),
        )
    };
    let exclusive = LockMode::AccessExclusive;
    assert!(plan[0].statements[0].opaque && plan[0].statements[0].relations.is_empty());
    assert_eq!(locks(0, 0), Some(vec![("public.t1", exclusive)]));
    assert_eq!(locks(0, 1), Some(vec![("public.t2", exclusive)]));
    // It has a stronger one already.
    assert_eq!(locks(0, 2), Some(vec![]));
    assert_eq!(locks(1, 0), Some(vec![("public.t4", exclusive)]));
    assert_eq!((locks(2, 0), locks(3, 0)), (None, None));

    assert_eq!(relations(&database).await, before);
    assert_eq!(
        server_state(&database).await,
        (
            vec!["t1".to_owned(), "t2".to_owned()],
            vec!["1".to_owned(), "2".to_owned()]
        )
    );
    assert_eq!(migrator.run().await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_rehearsal_finds_what_would_fail_at_commit_and_waits_for_a_lock_once() {
    let database = TestDatabase::empty().await.unwrap();
    let error = failed(
        migrator(&database.url(), &[fails_at_commit()])
            .rehearse()
            .await
            .unwrap_err(),
    );
    assert_eq!(error.sqlstate.as_ref().unwrap().code(), "23503");
    assert_eq!(relations(&database).await, 0);

    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    let holder = database.connect().await.unwrap();
    holder
        .batch_execute("SET application_name = 'a reader'; BEGIN; SELECT FROM t1")
        .await
        .unwrap();
    let alters = EmbeddedMigration::new("2_alter", "alter table t1 add column a int");
    let migrator =
        migrator(&database.url(), &[table(1), alters]).lock_timeout(Duration::from_millis(900));
    let error = migrator.rehearse().await.unwrap_err();
    assert!(matches!(error, MigrateError::Failed(_)), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("a reader") && !text.contains("attempts"),
        "{text}"
    );
}
