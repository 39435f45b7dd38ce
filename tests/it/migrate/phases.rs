//! One folder in two steps: expand before a deploy, contract after it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use app_db::{EmbeddedMigration, MigrateError, Phase};
use harness::TestDatabase;

use super::{migrator, server_state, table};

fn contract(migration: EmbeddedMigration) -> EmbeddedMigration {
    migration.with_metadata("run_in_transaction = true\n[dbctl]\nphase = \"contract\"")
}

/// Does something while eight sessions run `code` as fast as they can, before, meanwhile and after. None of it fails.
async fn under_load(database: &TestDatabase, code: &str, deed: impl AsyncFnOnce()) {
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sessions = (0..8).map(async |_| {
        let session = database.connect().await.unwrap();
        while !over.load(Ordering::Relaxed) {
            session.batch_execute(code).await.unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        }
    });
    let goes_on = async || {
        let before = done.load(Ordering::Relaxed);
        harness::wait_until("the code goes on", crate::SOON, async || {
            done.load(Ordering::Relaxed) > before + 100
        })
        .await;
    };
    let doing = async {
        goes_on().await;
        deed().await;
        goes_on().await;
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(futures_util::future::join_all(sessions), doing);
}

#[tokio::test]
async fn old_code_lives_through_both_phases_without_an_error() {
    let database = TestDatabase::empty().await.unwrap();
    let migrations = [
        EmbeddedMigration::new("1_t1", "create table t1(id serial, old text)"),
        EmbeddedMigration::new("2_new", "alter table t1 add column new text"),
        contract(EmbeddedMigration::new(
            "3_old",
            "alter table t1 drop column old",
        )),
        EmbeddedMigration::new("4_later", "create table t4()"),
    ];
    migrator(&database.url(), &migrations)
        .to("1")
        .run()
        .await
        .unwrap();
    let migrator = migrator(&database.url(), &migrations);

    let old_code = "INSERT INTO t1(old) VALUES ('x'); SELECT id, old FROM t1 LIMIT 1";
    let expanding = under_load(&database, old_code, async || {
        let expanded = migrator.clone().phase(Phase::Expand).run().await.unwrap();
        assert_eq!(expanded.len(), 1);
        assert_eq!(server_state(&database).await.1, ["1", "2"]);
    });
    expanding.await;
    assert!(
        migrator
            .clone()
            .phase(Phase::Expand)
            .run()
            .await
            .unwrap()
            .is_empty()
    );
    let new_code = "INSERT INTO t1(new) VALUES ('x'); SELECT id, new FROM t1 LIMIT 1";
    let contracting = under_load(&database, new_code, async || {
        let contracted = migrator.clone().phase(Phase::Contract).run().await.unwrap();
        assert_eq!(contracted.len(), 1, "the next expand is not a part of it");
    });
    contracting.await;
    let early = migrator.clone().phase(Phase::Contract).run().await;
    assert!(
        matches!(early, Err(MigrateError::ExpandFirst { .. })),
        "{early:?}"
    );
    assert_eq!(migrator.run().await.unwrap().len(), 1);
}

#[tokio::test]
async fn both_phases_in_one_run_are_refused_where_one_is_asked_for() {
    let database = TestDatabase::empty().await.unwrap();
    let migrator =
        migrator(&database.url(), &[table(1), contract(table(2))]).allow_both_phases(false);
    let both = migrator.run().await;
    assert!(
        matches!(both, Err(MigrateError::BothPhases { .. })),
        "{both:?}"
    );
    assert!(server_state(&database).await.1.is_empty());
    assert_eq!(
        migrator
            .clone()
            .phase(Phase::Expand)
            .run()
            .await
            .unwrap()
            .len(),
        1
    );
    // What is left is of one phase.
    assert_eq!(migrator.run().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_ends_with_the_version_it_is_given_and_never_goes_back() {
    let database = TestDatabase::empty().await.unwrap();
    let migrator = migrator(&database.url(), &[table(1), table(2), table(3)]);
    assert_eq!(
        migrator
            .clone()
            .to("2_create_t2")
            .run()
            .await
            .unwrap()
            .len(),
        2
    );
    assert!(migrator.clone().to("2").run().await.unwrap().is_empty());
    let back = migrator.clone().to("1").run().await;
    assert!(
        matches!(back, Err(MigrateError::AlreadyBeyond { .. })),
        "{back:?}"
    );
    let unknown = migrator.clone().to("9").run().await;
    assert!(
        matches!(unknown, Err(MigrateError::UnknownVersion { .. })),
        "{unknown:?}"
    );
    assert_eq!(
        migrator.clone().at_most(1).run().await.unwrap()[0].version,
        "3"
    );
    let reverted = migrator.revert_to("1").await.unwrap();
    assert_eq!(reverted.len(), 2);
    assert_eq!(server_state(&database).await.1, ["1"]);
    assert!(matches!(
        migrator.revert_to("3").await,
        Err(MigrateError::Irreversible { .. })
    ));
}
