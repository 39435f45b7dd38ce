//! The database with which each script begins, and the removal of everything that the previous script
//! left.

use std::time::Duration;

use harness::{Cluster, HarnessError};
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use crate::corpus;
use crate::failed::Failed;

/// Every script's database has the same name, since scripts ask for it.
pub(crate) const DATABASE: &str = "regression";

/// Creates what the scripts expect: the tables of `test_setup`, whose rows are not in the corpus.
pub(crate) async fn make_template(cluster: &Cluster, admin: &Client) -> Result<(), Failed> {
    admin.batch_execute("create database base").await?;
    let client = cluster.admin_of("base").await?;
    let setup = corpus::read(&corpus::folder()?, "test_setup".to_owned())?;
    for statement in &setup.script.statements {
        // Some statements need a newer server, or a library of C functions.
        let _ = client.batch_execute(&statement.sql).await;
    }
    client.batch_execute(ROWS).await?;
    drop(client);
    admin
        .batch_execute("alter database base with allow_connections false")
        .await?;
    Ok(())
}

/// Advances the counters of transactions, objects and sessions.
pub(crate) async fn shake(admin: &Client) -> Result<(), Failed> {
    for _ in 0..7 {
        admin.batch_execute("select pg_current_xact_id()").await?;
    }
    let burn = "begin; select lo_creat(-1) from generate_series(1, 1234); rollback";
    Ok(admin.batch_execute(burn).await?)
}

/// Replaces the database, and removes everything else that the last script created on the server.
pub(crate) async fn make(cluster: &Cluster) -> Result<(), Failed> {
    let admin = &admin_of(cluster).await?;
    let made = texts(
        admin,
        "select datname from pg_database where datname = 'regression'",
    )
    .await?;
    // A script may have left a database that nobody can connect to.
    if !made.is_empty()
        && let Ok(inside) = cluster.admin_of(DATABASE).await
    {
        run_each(&inside, END_OF_TRANSACTIONS).await?;
        run_each(&inside, END_OF_SUBSCRIPTIONS).await?;
    }
    for query in SWEEP {
        run_each(admin, query).await?;
    }
    // A script ends with the tablespace of `test_setup` dropped or renamed.
    admin
        .batch_execute("set allow_in_place_tablespaces = on")
        .await?;
    run_each(admin, TABLESPACE).await?;
    let create = format!("create database {DATABASE} template base");
    Ok(admin.batch_execute(&create).await?)
}

/// A superuser's session; a server that has crashed needs a moment.
async fn admin_of(cluster: &Cluster) -> Result<Client, HarnessError> {
    let began = Instant::now();
    loop {
        match cluster.admin().await {
            Err(_) if began.elapsed() < PATIENCE => sleep(Duration::from_millis(100)).await,
            connected => return connected,
        }
    }
}

/// Runs the statements that a query returns. Objects that cannot be removed stay.
async fn run_each(client: &Client, query: &str) -> Result<(), Failed> {
    for text in texts(client, query).await? {
        let _ = client.batch_execute(&text).await;
    }
    Ok(())
}

async fn texts(client: &Client, query: &str) -> Result<Vec<String>, Failed> {
    let rows = client.query(query, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

const PATIENCE: Duration = Duration::from_secs(10);
const END_OF_TRANSACTIONS: &str = "select format('rollback prepared %L', gid) from pg_prepared_xacts where database = current_database()";
const END_OF_SUBSCRIPTIONS: &str = "\
    select format(f, subname) from pg_subscription, \
    unnest(array['alter subscription %I disable', 'alter subscription %I set (slot_name = none)', 'drop subscription %I']) f \
    where subdbid = (select oid from pg_database where datname = current_database())";
const SWEEP: [&str; 7] = [
    "select format('alter database %I with is_template false', datname) from pg_database \
     where datistemplate and datname not in ('template0', 'template1')",
    "select format('drop database %I with (force)', datname) from pg_database \
     where datname not in ('base', 'postgres', 'template0', 'template1')",
    "select format('drop tablespace %I', spcname) from pg_tablespace where spcname !~ '^(pg_|regress_tblspace$)'",
    "select format('select pg_drop_replication_slot(%L)', slot_name) from pg_replication_slots",
    "select format(f, rolname) from pg_roles, unnest(array['drop owned by %I', 'drop role %I']) f \
     where oid >= 16384 order by f desc",
    "select 'alter role postgres reset all' where exists (select from pg_db_role_setting)",
    "select unnest(array['alter system reset all', 'select pg_reload_conf()']) \
     where exists (select from pg_file_settings where sourcefile like '%postgresql.auto.conf')",
];
const TABLESPACE: &str = "select 'create tablespace regress_tblspace location ''''' \
    where not exists (select from pg_tablespace where spcname = 'regress_tblspace')";
/// Rows in the form of the scripts' own file of 10,000 rows, but fewer.
const ROWS: &str = "\
    truncate onek; \
    insert into onek select n, (n * 7) % 1000, n % 2, n % 4, n % 10, n % 20, n % 100, n % 1000, n % 1000, n % 1000, n, \
        (n % 100) * 2 + 1, (n % 100) * 2, \
        chr(65 + n % 26) || chr(65 + n / 26 % 26) || 'AAAA', chr(65 + n % 26) || 'BAAAA', \
        (array['AAAAxx', 'HHHHxx', 'OOOOxx', 'VVVVxx'])[n % 4 + 1] \
        from generate_series(0, 999) n; \
    create table if not exists tenk1 (like onek); truncate tenk1; insert into tenk1 select * from onek; \
    create table if not exists tenk2 as select * from tenk1; truncate tenk2; insert into tenk2 select * from onek; \
    create table if not exists onek2 as select * from onek; truncate onek2; insert into onek2 select * from onek; \
    create index if not exists tenk1_unique1 on tenk1 (unique1); \
    create index if not exists onek_unique1 on onek (unique1); \
    analyze";
