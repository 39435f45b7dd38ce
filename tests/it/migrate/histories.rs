//! Where the history is, and that there is one.

use app_db::{EmbeddedMigration, MigrateError, Migrator};
use harness::TestDatabase;

use super::{migrator, table};

/// The database's URL with a `search_path`.
fn along(database: &TestDatabase, path: &str) -> String {
    let url = database.url();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-csearch_path%3D{path}")
}

fn create_schema(name: &str) -> EmbeddedMigration {
    EmbeddedMigration::new("0_schema", format!("create schema {name}"))
        .with_down(format!("drop schema {name} cascade"))
}

/// Every history of the database, with its versions.
async fn histories(database: &TestDatabase) -> Vec<String> {
    let schemas: Vec<String> = database
        .scalar(
            "SELECT coalesce(array_agg(relnamespace::regnamespace::text ORDER BY relnamespace::regnamespace::text), '{}') \
             FROM pg_class WHERE relname = '__diesel_schema_migrations'",
        )
        .await
        .unwrap();
    let mut histories = Vec::new();
    for schema in schemas {
        let sql = format!(
            "SELECT coalesce(string_agg(version, ' ' ORDER BY version), '') \
             FROM {schema}.__diesel_schema_migrations"
        );
        let versions: String = database.scalar(&sql).await.unwrap();
        histories.push(format!("{schema}: {versions}"));
    }
    histories
}

#[tokio::test]
async fn the_schema_of_the_search_path_may_be_created_by_the_first_migration() {
    for path in ["app", "App,other", "%22$user%22,app"] {
        let database = TestDatabase::empty().await.unwrap();
        let schema = if path.contains("user") {
            database.role().name().to_owned()
        } else {
            "app".to_owned()
        };
        let migrator = migrator(&along(&database, path), &[create_schema(&schema), table(1)]);
        assert_eq!(migrator.run().await.unwrap().len(), 2, "{path}");
        assert_eq!(histories(&database).await, [format!("{schema}: 0 1")]);
        assert!(migrator.run().await.unwrap().is_empty(), "{path}");
        migrator.assert_up_to_date().await.unwrap();
        assert_eq!(migrator.revert(1).await.unwrap().len(), 1);
        assert_eq!(histories(&database).await, [format!("{schema}: 0")]);
    }
}

#[tokio::test]
async fn five_runners_that_start_without_the_schema_apply_each_migration_once() {
    let database = TestDatabase::empty().await.unwrap();
    let slow = EmbeddedMigration::new("0_schema", "create schema app; select pg_sleep(0.3)");
    let url = along(&database, "app");
    let migrators: Vec<_> = (0..5)
        .map(|_| migrator(&url, &[slow.clone(), table(1), table(2)]))
        .collect();
    let runs = futures_util::future::join_all(migrators.iter().map(Migrator::run)).await;
    let mut applied: Vec<_> = runs.into_iter().map(|run| run.unwrap().len()).collect();
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 0, 3]);
    assert_eq!(histories(&database).await, ["app: 0 1 2"]);
}

#[tokio::test]
async fn without_any_schema_to_be_in_the_history_is_not_put_elsewhere() {
    let database = TestDatabase::empty().await.unwrap();
    let url = along(&database, "app");
    let error = migrator(&url, &[create_schema("other")])
        .run()
        .await
        .unwrap_err();
    let text = format!("{error}");
    assert!(
        text.contains("record migration 0_schema in \"app\".__diesel_schema_migrations"),
        "{text}"
    );
    let others: bool = database
        .scalar("SELECT to_regnamespace('other') IS NULL")
        .await
        .unwrap();
    assert!(others, "it was rolled back");
    assert!(histories(&database).await.is_empty());
}

#[tokio::test]
async fn a_history_stays_where_it_is_when_a_schema_appears_before_it_in_the_path() {
    let database = TestDatabase::empty().await.unwrap();
    let schema = EmbeddedMigration::new(
        "2_schema",
        format!("create schema {}", database.role().name()),
    );
    let migrator = migrator(&database.url(), &[table(1), schema, table(3)]);
    assert_eq!(migrator.run().await.unwrap().len(), 3);
    assert!(migrator.run().await.unwrap().is_empty());
    assert_eq!(histories(&database).await, ["public: 1 2 3"]);
}

#[tokio::test]
async fn nothing_starts_while_two_histories_have_the_same_migrations() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[table(1)]).run().await.unwrap();
    database
        .sql("CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO PUBLIC")
        .await
        .unwrap();
    let moved = migrator(&along(&database, "app"), &[table(1), table(2)]);
    let error = moved.run().await.unwrap_err();
    assert!(
        matches!(error, MigrateError::TwoHistories { recorded: 1, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.contains("\"public\".__diesel") && text.contains("\"app\".__diesel"),
        "{text}"
    );
    assert!(matches!(
        moved.revert(1).await,
        Err(MigrateError::TwoHistories { .. })
    ));
    assert_eq!(histories(&database).await, ["public: 1"]);

    // diesel's own tool makes an empty one in the first schema of the path.
    database
        .sql(
            "CREATE TABLE app.__diesel_schema_migrations (LIKE public.__diesel_schema_migrations \
             INCLUDING ALL); GRANT ALL ON app.__diesel_schema_migrations TO PUBLIC",
        )
        .await
        .unwrap();
    let both = migrator(&along(&database, "app,public"), &[table(1), table(2)]);
    assert!(matches!(
        both.run().await,
        Err(MigrateError::TwoHistories { .. })
    ));

    // A service with other migrations has a history of its own.
    let service = migrator(&along(&database, "app"), &[table(7)]);
    assert_eq!(service.run().await.unwrap().len(), 1);
    assert_eq!(histories(&database).await, ["app: 7", "public: 1"]);
}
