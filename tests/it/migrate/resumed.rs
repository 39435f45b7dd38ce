//! Migrations outside a transaction that were interrupted, and go on where they stopped.

use app_db::{EmbeddedMigration, LeftBehind, MigrateError, MigrationState, Migrator};
use harness::{Proxy, TestDatabase, wait_until};

use super::{failed, migrator, server_state};

/// Five statements that cannot run twice. The one numbered `slow` waits until the table `go` exists.
fn five(slow: usize) -> String {
    let statements = (1..=5).map(|n| {
        let wait = "case when to_regclass('go') is null then pg_sleep(30) is null end as b";
        let rows = if n == slow {
            format!("select 1 as a, {wait}")
        } else {
            "select 1 as a".to_owned()
        };
        format!("-- statement {n};\ncreate table made_{n} as {rows};\n")
    });
    format!(
        "set work_mem = '123kB';\n{}",
        statements.collect::<String>()
    )
}

fn outside(database: &TestDatabase, sql: &str) -> Migrator {
    let migration = EmbeddedMigration::new("1_five", sql.to_owned())
        .with_metadata("run_in_transaction = false");
    migrator(&database.url(), &[migration])
}

async fn kill_at(database: &TestDatabase, migrator: &Migrator) {
    let killing = async {
        wait_until("the statement sleeps", crate::SOON, async || {
            let backends = database.backends("app-db migrator").await.unwrap();
            backends
                .iter()
                .any(|backend| backend.query.contains("pg_sleep"))
        })
        .await;
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE datname = current_database() AND query LIKE '%pg_sleep%' \
                    AND pid <> pg_backend_pid()";
        database.sql(kill).await.unwrap();
    };
    let (error, ()) = tokio::join!(migrator.run(), killing);
    failed(error.unwrap_err());
}

async fn go(database: &TestDatabase) {
    database
        .sql("CREATE TABLE go(); GRANT ALL ON go TO PUBLIC")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_run_that_was_killed_goes_on_at_the_statement_that_was_killed() {
    for slow in 1..=5 {
        let database = TestDatabase::empty().await.unwrap();
        let migrator = outside(&database, &five(slow));
        kill_at(&database, &migrator).await;
        let made = "SELECT count(*) FROM pg_class WHERE relname LIKE 'made%'";
        let before: i64 = database.scalar(made).await.unwrap();
        assert_eq!(before, slow as i64 - 1);
        let state = migrator.status().await.unwrap()[0].state;
        assert_eq!(state, MigrationState::Unfinished);
        assert!(matches!(
            migrator.assert_up_to_date().await,
            Err(MigrateError::Pending { .. })
        ));

        go(&database).await;
        assert_eq!(migrator.run().await.unwrap().len(), 1, "killed at {slow}");
        assert_eq!(database.scalar::<i64>(made).await.unwrap(), 5);
        assert_eq!(server_state(&database).await.1, ["1"]);
        migrator.assert_up_to_date().await.unwrap();
    }
}

/// So that a run that is killed leaves both or neither.
#[tokio::test]
async fn a_statement_and_the_note_that_it_has_run_are_one_transaction() {
    let database = TestDatabase::empty().await.unwrap();
    let first = EmbeddedMigration::new("0_first", "select 1");
    migrator(&database.url(), &[first]).run().await.unwrap();
    for sql in [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'no note' USING errcode = 'P0007'; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON __dbctl_migrations FOR EACH ROW \
         WHEN (new.statements_done = 2) EXECUTE FUNCTION refuse()",
    ] {
        database.sql(sql).await.unwrap();
    }
    let migrator = outside(&database, "create table made_1();\ncreate table made_2()");
    let error = failed(migrator.run().await.unwrap_err());
    assert_eq!(
        (error.sqlstate.as_ref().unwrap().code(), error.line),
        ("P0007", 2)
    );
    let made = "SELECT count(*) FROM pg_class WHERE relname LIKE 'made%'";
    assert_eq!(database.scalar::<i64>(made).await.unwrap(), 1);
    database
        .sql("DROP TRIGGER refuse ON __dbctl_migrations")
        .await
        .unwrap();
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    assert_eq!(database.scalar::<i64>(made).await.unwrap(), 2);
}

#[tokio::test]
async fn a_statement_that_has_to_be_alone_is_sent_alone() {
    let database = TestDatabase::empty().await.unwrap();
    // The role of the file may not write the note.
    let sql = "cluster;\ncreate procedure p() language plpgsql as $$ begin commit; end $$;\n\
               call p();\nset role migrated;\ncreate table made_1()";
    let role = database.role().name();
    database
        .sql(&format!(
            "GRANT CREATE ON SCHEMA public TO migrated; GRANT migrated TO {role}"
        ))
        .await
        .unwrap();
    let migrator = outside(&database, sql);
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    let owner = "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'made_1'";
    assert_eq!(database.scalar::<String>(owner).await.unwrap(), "migrated");
}

#[tokio::test]
async fn an_edit_of_what_has_run_stops_the_run_and_one_behind_it_does_not() {
    let database = TestDatabase::empty().await.unwrap();
    let original = five(3);
    kill_at(&database, &outside(&database, &original)).await;
    go(&database).await;

    let earlier = outside(&database, &original.replace("statement 2", "statement two"));
    let error = earlier.run().await.unwrap_err();
    assert!(
        matches!(error, MigrateError::EditedUnfinished { done: 3, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("repair --restart 1"), "{text}");
    assert!(server_state(&database).await.1.is_empty());

    let later = original.replace("made_4", "made_four");
    assert_eq!(outside(&database, &later).run().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_restart_begins_with_the_first_statement() {
    let database = TestDatabase::empty().await.unwrap();
    let migrator = outside(&database, &five(3));
    kill_at(&database, &migrator).await;
    go(&database).await;
    migrator.restart("1_five").await.unwrap();
    let error = failed(migrator.run().await.unwrap_err());
    assert_eq!(error.sqlstate.as_ref().unwrap().code(), "42P07");
    database.sql("DROP TABLE made_1, made_2").await.unwrap();
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    assert!(matches!(
        migrator.restart("1").await,
        Err(MigrateError::NotApplied { .. })
    ));
}

#[tokio::test]
async fn what_the_statements_before_have_set_holds_for_those_behind() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "set work_mem = '123kB'; create table t1(); \
               select 1 / (to_regclass('go') is not null)::int; \
               select 1 / (current_setting('work_mem') = '123kB')::int";
    let migrator = outside(&database, sql);
    failed(migrator.run().await.unwrap_err());
    go(&database).await;
    assert_eq!(migrator.run().await.unwrap().len(), 1);
}

/// Its own transaction may have been rolled back, so nobody knows where to go on.
#[tokio::test]
async fn a_file_with_transactions_of_its_own_starts_again_from_the_beginning() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "begin; create table t1(); select 1 / (to_regclass('go') is not null)::int; commit";
    let migrator = outside(&database, sql);
    failed(migrator.run().await.unwrap_err());
    assert_eq!(
        migrator.status().await.unwrap()[0].state,
        MigrationState::Pending
    );
    go(&database).await;
    assert_eq!(migrator.run().await.unwrap().len(), 1);
    assert_eq!(
        server_state(&database).await,
        (vec!["t1".to_owned()], vec!["1".to_owned()])
    );
}

#[tokio::test]
async fn a_commit_of_the_files_own_whose_answer_is_lost_is_unknown() {
    let database = TestDatabase::empty().await.unwrap();
    let sql = "begin; create table t1(a int);\n\
               create function slow() returns trigger language plpgsql as \
               $$ begin perform pg_sleep(1); return null; end $$;\n\
               create constraint trigger slow after insert on t1 deferrable initially deferred \
               for each row execute function slow();\n\
               insert into t1 values (1);\ncommit";
    let migration = EmbeddedMigration::new("1_a", sql).with_metadata("run_in_transaction = false");
    let proxy = Proxy::start(database.server().port()).await.unwrap();
    let migrator = migrator(&database.proxied_url(&proxy), &[migration]);
    let cutting = async {
        wait_until("it commits", crate::SOON, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                       AND query = 'commit' AND wait_event = 'PgSleep'";
            database.scalar::<i64>(sql).await.unwrap() == 1
        })
        .await;
        proxy.cut();
    };
    let (error, ()) = tokio::join!(migrator.run(), cutting);
    let error = failed(error.unwrap_err());
    assert_eq!((error.state.clone(), error.line), (LeftBehind::Unknown, 5));
    assert!(
        error
            .to_string()
            .contains("whether it was committed is unknown"),
        "{error}"
    );
}
