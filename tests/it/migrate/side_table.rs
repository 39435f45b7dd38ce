//! What a person reads in `__dbctl_migrations`, and how an older one is completed.

use app_db::EmbeddedMigration;
use harness::TestDatabase;

use super::{migrator, server_state, table};
use crate::captured::Captured;
use crate::dbctl::Dbctl;

/// `version name state sqlstate` of each row, and whether the other columns say what they should.
async fn rows(database: &TestDatabase) -> Vec<String> {
    let sql = "SELECT coalesce(array_agg(concat_ws(' ', version, name, state, error_sqlstate) ORDER BY version), '{}') \
               FROM __dbctl_migrations";
    database.scalar(sql).await.unwrap()
}

/// As the first version has made it.
const OLDEST: &str = "CREATE TABLE __dbctl_migrations (version VARCHAR(50) PRIMARY KEY, run_on TIMESTAMP, \
     sha256_up TEXT NOT NULL, statements_done INT, tool_version TEXT NOT NULL, \
     noted_by TEXT NOT NULL DEFAULT session_user, \
     noted_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp())";

#[tokio::test]
async fn it_says_who_did_what_from_where_and_how_it_ended() {
    let database = TestDatabase::empty().await.unwrap();
    let broken = EmbeddedMigration::new("3_it's\\broken", "create table t3(); select nothing");
    let outside = EmbeddedMigration::new("2_halfway", "select pg_sleep(0.05); select nothing")
        .with_metadata("run_in_transaction = false");
    let first = migrator(&database.url(), &[table(1), outside.clone()]);
    first.run().await.unwrap_err();
    assert_eq!(
        rows(&database).await,
        ["1 create_t1 applied", "2 halfway failed 42703"]
    );
    let whole: bool = database
        .scalar(
            "SELECT bool_and(client_host = '127.0.0.1' AND noted_by = current_database() \
             AND started_at IS NOT NULL AND started_at <= noted_at AND started_at > noted_at - interval '1 minute') \
             FROM __dbctl_migrations",
        )
        .await
        .unwrap();
    assert!(whole, "host, role or times are missing");

    let mended = EmbeddedMigration::new("2_halfway", "select pg_sleep(0.05); select 1")
        .with_metadata("run_in_transaction = false");
    let second = migrator(&database.url(), &[table(1), mended.clone(), broken]);
    second.run().await.unwrap_err();
    assert_eq!(
        rows(&database).await,
        [
            "1 create_t1 applied",
            "2 halfway applied",
            "3 it's\\broken failed 42703"
        ]
    );
    let damage = second.damage().await.unwrap();
    assert_eq!(damage.len(), 1, "{damage:?}");
    assert!(
        damage[0].problem().contains("with SQLSTATE 42703"),
        "{damage:?}"
    );
    // It has failed, and it is pending as before.
    assert_eq!(second.status().await.unwrap()[2].state.as_str(), "pending");

    let third = migrator(
        &database.url(),
        &[table(1), mended.with_down("select 1"), table(3)],
    );
    third.run().await.unwrap();
    assert!(third.damage().await.unwrap().is_empty());
    third.revert(2).await.unwrap();
    assert_eq!(
        rows(&database).await,
        [
            "1 create_t1 applied",
            "2 halfway reverted",
            "3 create_t3 reverted"
        ]
    );
    third.run().await.unwrap();
    third.assert_up_to_date().await.unwrap();
    // A failed revert leaves the migration applied.
    let stuck = table(3).with_down("select nothing");
    let stuck = migrator(&database.url(), &[table(1), outside, stuck]);
    stuck.revert(1).await.unwrap_err();
    assert_eq!(rows(&database).await[2], "3 create_t3 applied");

    let other = TestDatabase::empty().await.unwrap();
    other.sql("CREATE TABLE t1()").await.unwrap();
    migrator(&other.url(), &[table(1)])
        .baseline("1")
        .await
        .unwrap();
    assert_eq!(rows(&other).await, ["1 create_t1 baselined"]);
}

#[tokio::test]
async fn it_shows_what_runs_now_outside_a_transaction() {
    let database = TestDatabase::empty().await.unwrap();
    let seen = "do $$ begin perform 1 / (select count(*) from __dbctl_migrations \
                where state = 'running' and started_at is not null)::int; end $$";
    for own in ["", "begin; commit; "] {
        let migration = EmbeddedMigration::new("1_a", format!("{own}{seen}"))
            .with_down("select 1")
            .with_metadata("run_in_transaction = false");
        let migrator = migrator(&database.url(), &[migration]);
        migrator.run().await.unwrap();
        assert_eq!(rows(&database).await, ["1 a applied"]);
        migrator.revert(1).await.unwrap();
    }
}

#[tokio::test]
async fn an_older_one_is_completed_and_keeps_what_it_says() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    for sql in [
        "ALTER TABLE __dbctl_migrations RENAME TO newer",
        OLDEST,
        "INSERT INTO __dbctl_migrations SELECT version, run_on, sha256_up, statements_done, tool_version FROM newer",
        &format!(
            "ALTER TABLE __dbctl_migrations OWNER TO {}",
            database.role().name()
        ),
    ] {
        database.sql(sql).await.unwrap();
    }
    let edited = EmbeddedMigration::new("1_create_t1", "create table t1(a int)");
    let states = migrator(&database.url(), &[edited]).status().await.unwrap();
    assert_eq!(
        states[0].state.as_str(),
        "drifted",
        "before it is completed"
    );

    let all = [table(1), table(2)];
    assert_eq!(
        migrator(&database.url(), &all).run().await.unwrap().len(),
        1
    );
    assert_eq!(rows(&database).await, ["1", "2 create_t2 applied"]);
    migrator(&database.url(), &all)
        .assert_up_to_date()
        .await
        .unwrap();
    let durations = migrator(&database.url(), &all).status().await.unwrap();
    assert!(durations[0].duration.is_none() && durations[1].duration.is_some());
}

/// Somebody who reads it, or who owns it, does not stop a run.
#[tokio::test]
async fn an_older_one_that_cannot_be_completed_now_is_used_as_it_is() {
    for is_owner in [true, false] {
        let database = TestDatabase::empty().await.unwrap();
        let role = database.role().name();
        database.sql(OLDEST).await.unwrap();
        let rights = if is_owner {
            format!("ALTER TABLE __dbctl_migrations OWNER TO {role}")
        } else {
            format!("GRANT ALL ON __dbctl_migrations TO {role}")
        };
        database.sql(&rights).await.unwrap();
        let reader = database.admin().await.unwrap();
        if is_owner {
            let reads = "BEGIN; SELECT FROM __dbctl_migrations";
            reader.batch_execute(reads).await.unwrap();
        }
        let (captured, _guard) = Captured::begin();
        let migrator = migrator(&database.url(), &[table(1)]);
        migrator.run().await.unwrap();
        migrator.assert_up_to_date().await.unwrap();
        migrator.redo().await.unwrap();
        assert_eq!(migrator.revert(1).await.unwrap().len(), 1);
        let kept = "the table keeps its older columns for now";
        let events = captured.events("app_db::migrate");
        assert!(
            events
                .iter()
                .any(|event| event.get("message") == Some(kept))
        );
        let left: i64 = database
            .scalar("SELECT count(*) FROM __dbctl_migrations")
            .await
            .unwrap();
        assert_eq!((left, server_state(&database).await), (0, (vec![], vec![])));
    }
}

#[tokio::test]
async fn an_unfinished_one_whose_files_are_gone_can_be_forgotten() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "select nothing");
    let metadata = dbctl.path("migrations/1_a/metadata.toml");
    std::fs::write(metadata, "run_in_transaction = false").unwrap();
    dbctl
        .run("migrate run")
        .await
        .ended_with(1)
        .says("it runs outside a transaction and is not recorded: ERROR");
    std::fs::rename(dbctl.path("migrations/1_a"), dbctl.path("migrations/2_b")).unwrap();
    let listed = dbctl.run("migrate repair").await.ended_with(0).stdout;
    assert!(
        listed.contains("forget it with `dbctl migrate repair --restart 1`"),
        "{listed}"
    );
    dbctl.run("migrate repair --restart 1").await.ended_with(0);
    let none = dbctl.run("migrate repair").await.ended_with(0);
    none.says("nothing to repair");
}

#[tokio::test]
async fn repair_lists_a_failure_that_left_nothing() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "select nothing");
    dbctl.run("migrate run").await.ended_with(1);
    let listed = dbctl.run("migrate repair").await.ended_with(0).stdout;
    assert!(
        listed.contains("1_a") && listed.contains("with SQLSTATE 42703, and left nothing"),
        "{listed}"
    );
    let json = dbctl.run("migrate repair --json").await.json();
    assert_eq!(
        (&json[0]["kind"], &json[0]["sqlstate"]),
        (&"failed".into(), &"42703".into())
    );
    // One that is gone from the folder is nobody's concern.
    std::fs::rename(dbctl.path("migrations/1_a"), dbctl.path("migrations/2_a")).unwrap();
    let none = dbctl.run("migrate repair").await.ended_with(0);
    assert_eq!(none.says("nothing to repair").stdout, "");
    std::fs::rename(dbctl.path("migrations/2_a"), dbctl.path("migrations/1_a")).unwrap();
    dbctl.add_migration("1_a", "select 1");
    dbctl.run("migrate run").await.ended_with(0);
    dbctl
        .run("migrate repair")
        .await
        .ended_with(0)
        .says("nothing to repair");
}
