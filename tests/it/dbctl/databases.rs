//! `dbctl database`.

use harness::TestDatabase;

use super::Dbctl;

async fn exists(database: &TestDatabase, name: &str) -> bool {
    let sql = format!("SELECT EXISTS (SELECT FROM pg_database WHERE datname = '{name}')");
    database.scalar(&sql).await.unwrap()
}

#[tokio::test]
async fn a_database_is_created_set_up_and_dropped() {
    let database = TestDatabase::empty().await.unwrap();
    let role = database.role().name();
    database
        .sql(&format!("ALTER ROLE {role} CREATEDB"))
        .await
        .unwrap();
    let name = format!("{}-new \"one\"", database.name());
    let path = name.replace('"', "%22").replace(' ', "%20");
    let port = database.server().port();
    let url = database.url().replace(
        &format!(":{port}/{}", database.name()),
        &format!(":{port}/{path}"),
    );
    let dbctl = Dbctl::on(&database)
        .with("DATABASE_URL", &url)
        .with("DATABASE_URL_DIRECT", &url);

    dbctl
        .run("database create")
        .await
        .ended_with(0)
        .says("created");
    assert!(exists(&database, &name).await);
    dbctl
        .run("database create")
        .await
        .ended_with(0)
        .says("is there already");
    dbctl
        .run("database setup")
        .await
        .ended_with(0)
        .says("migrations applied");
    dbctl.run("migrate status --check").await.ended_with(0);
    dbctl
        .run("database drop --confirm wrong")
        .await
        .ended_with(2);
    let production = dbctl.with("APP_ENV", "production");
    production
        .run("database drop")
        .await
        .ended_with(2)
        .says("--confirm");
    assert!(exists(&database, &name).await);
    let dbctl = production.with("APP_ENV", "dev");
    dbctl
        .run("database drop")
        .await
        .ended_with(0)
        .says("dropped");
    assert!(!exists(&database, &name).await);
    dbctl
        .run("database drop")
        .await
        .ended_with(0)
        .says("is not there");
    dbctl
        .run("database setup")
        .await
        .ended_with(0)
        .says("created")
        .says("migrations applied");
    dbctl.run("database drop --force").await.ended_with(0);
}

#[tokio::test]
async fn a_database_in_use_and_a_role_without_the_right_say_what_helps() {
    let database = TestDatabase::empty().await.unwrap();
    let dbctl = Dbctl::on(&database);
    let _session = database.connect().await.unwrap();
    dbctl
        .run("database drop")
        .await
        .ended_with(1)
        .says("--force");
    assert!(exists(&database, database.name()).await);
    let missing = Dbctl::on(&database).with("DATABASE_URL_DIRECT", database.missing_url());
    missing
        .run("database create")
        .await
        .ended_with(1)
        .says("cannot create the database no_such_database")
        .says("ALTER ROLE .. CREATEDB");
}
