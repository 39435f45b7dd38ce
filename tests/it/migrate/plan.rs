//! The plan of a run, compared with what the server really locks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use app_db::{EmbeddedMigration, LockMode};
use harness::TestDatabase;

use super::{migrator, server_state, table};

/// Tables of every kind, with keys between them.
const SCHEMA: &str = "
    create table parent(id int primary key, name varchar(20), note text);
    create table child(id int primary key, parent_id int constraint child_parent references parent, amount int);
    create table cascading(id int references parent on delete cascade);
    create table lone(id int primary key, a int, b text, c numeric(10, 2));
    alter table lone add constraint a_positive check (a > 0) not valid;
    create table heir(d int) inherits (lone);
    create table part(id int, at date) partition by range (id);
    create table part_1 partition of part for values from (0) to (10);
    create table part_2 partition of part for values from (10) to (20);
    create table detached(id int, at date);
    create index lone_a on lone(a);
    create index lone_b on lone(b);
    create view lone_view as select id, a from lone;
    create materialized view lone_copy as select id, a from lone;
    create unique index lone_copy_id on lone_copy(id);
    create sequence numbers;
    create function noted() returns trigger language plpgsql as 'begin return new; end';
    create trigger lone_noted before update on lone for each row execute function noted();
    create rule lone_rule as on delete to heir do instead nothing;
    insert into parent values (1, 'a'), (2, 'b');
    insert into child values (1, 1, 1);
    analyze;
";

/// One of each kind of statement that locks relations.
const KINDS: &[&str] = &[
    "alter table lone add column e int",
    "alter table lone add column e int default 5",
    "alter table lone add column e float default random()",
    "alter table only heir drop column d",
    "alter table lone alter column a set not null",
    "alter table lone alter column a set default 1",
    "alter table lone alter column a set statistics 100",
    "alter table child alter column amount type bigint",
    "alter table parent alter column name type varchar(30)",
    "alter table lone rename column b to bb",
    "alter table lone rename to alone",
    "alter table only parent add constraint named unique (name)",
    "alter table child add constraint small check (amount < 100)",
    "alter table child add constraint small check (amount < 100) not valid",
    "alter table lone validate constraint a_positive",
    "alter table lone add constraint lone_parent foreign key (id) references parent not valid",
    "alter table lone add constraint lone_parent foreign key (id) references parent",
    "alter table lone add constraint once unique (id, a)",
    "alter table child drop constraint child_parent",
    "alter table child drop column parent_id",
    "alter table lone disable trigger lone_noted",
    "alter table lone enable row level security",
    "alter table lone set (fillfactor = 90)",
    "alter table lone cluster on lone_a",
    "alter table part attach partition detached for values from (20) to (30)",
    "alter table part detach partition part_2",
    "alter table heir no inherit lone",
    "alter table part add column note text",
    "create index lone_id_a on lone(id, a)",
    "create index part_at on part(at)",
    "drop index lone_b",
    "drop table child",
    "drop table part_2",
    "drop view lone_view",
    "truncate cascading, child",
    "truncate parent cascade",
    "lock table lone in share row exclusive mode",
    "create trigger t before insert on lone for each row execute function noted()",
    "drop trigger lone_noted on lone",
    "create rule r as on insert to heir do also select 1",
    "create policy p on lone using (true)",
    "create statistics s on a, b from lone",
    "create table made(id int references parent)",
    "create table part_3 partition of part for values from (30) to (40)",
    "create table like_lone(like lone including all)",
    "create view joined as select c.id from child c join lone_view v on v.id = c.id",
    "create table copied as select p.id from parent p, child as c where c.parent_id = p.id",
    "insert into child select 5, p.id, 1 from parent p where p.id = 2",
    "update only lone set a = 2 from parent where parent.id = lone.id",
    "delete from parent where id = 2",
    "select 1 from child where exists (select from lone_view) for update",
    "refresh materialized view lone_copy",
    "reindex table cascading",
    "reindex index lone_a",
    "cluster lone using lone_a",
    "analyze lone",
    "analyze part",
    "comment on table lone is 'x'",
    "comment on column lone.a is 'x'",
    "alter sequence numbers increment by 2",
    "alter materialized view lone_copy rename to lone_copied",
    "with gone as (delete from cascading returning id) insert into heir(id) select id from gone",
    "copy child to '/dev/null'",
];

/// The relations that are there, by number.
async fn relations(database: &TestDatabase) -> BTreeMap<u32, String> {
    let query = "SELECT c.oid, format('%I.%I', n.nspname, c.relname) FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S')";
    let rows = database
        .admin()
        .await
        .unwrap()
        .query(query, &[])
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// What the server has locked in a transaction that is rolled back, by the names from before.
async fn locked(
    database: &TestDatabase,
    relations: &BTreeMap<u32, String>,
    sql: &str,
) -> BTreeMap<String, String> {
    let session = database.admin().await.unwrap();
    session
        .batch_execute(&format!("BEGIN; {sql}"))
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let query =
        "SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL";
    let mut strongest: BTreeMap<String, String> = BTreeMap::new();
    for row in session.query(query, &[]).await.unwrap() {
        let (relation, mode): (u32, String) = (row.get(0), row.get(1));
        let Some(relation) = relations.get(&relation) else {
            continue;
        };
        let known = strongest
            .entry(relation.clone())
            .or_insert_with(|| mode.clone());
        if strength(&mode) > strength(known) {
            *known = mode;
        }
    }
    session.batch_execute("ROLLBACK").await.unwrap();
    strongest
}

fn strength(mode: &str) -> usize {
    let modes = [
        LockMode::AccessShare,
        LockMode::RowShare,
        LockMode::RowExclusive,
        LockMode::ShareUpdateExclusive,
        LockMode::Share,
        LockMode::ShareRowExclusive,
        LockMode::Exclusive,
        LockMode::AccessExclusive,
    ];
    modes
        .iter()
        .position(|known| known.as_str() == mode)
        .unwrap()
}

#[tokio::test]
async fn the_planned_locks_are_those_that_the_server_takes() {
    let database = TestDatabase::empty().await.unwrap();
    database.sql(SCHEMA).await.unwrap();
    let there = relations(&database).await;
    let mut wrong = Vec::new();
    for sql in KINDS {
        let migration = EmbeddedMigration::new("1_a", *sql);
        let plan = migrator(&database.url(), &[migration])
            .plan()
            .await
            .unwrap();
        let statement = &plan[0].statements[0];
        let planned: BTreeMap<String, String> = statement
            .relations
            .iter()
            .filter(|relation| there.values().any(|name| *name == relation.relation))
            .map(|relation| (relation.relation.clone(), relation.lock_mode.to_string()))
            .collect();
        let locked = locked(&database, &there, sql).await;
        if planned != locked {
            wrong.push(format!(
                "{sql}\n  planned {planned:?}\n  locked  {locked:?}"
            ));
        }
    }
    assert!(KINDS.len() >= 40);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_written_anew_or_read_from_end_to_end_is_told_from_the_catalogue() {
    let database = TestDatabase::empty().await.unwrap();
    database.sql(SCHEMA).await.unwrap();
    database
        .sql("alter table parent add constraint noted check (note is not null) not valid")
        .await
        .unwrap();
    database
        .sql("update parent set note = ''; alter table parent validate constraint noted")
        .await
        .unwrap();
    // Whether it rewrites is asked of the server: a new file for the table.
    for (sql, rewrite, scan) in [
        (
            "alter table parent add column e int default 5",
            false,
            false,
        ),
        (
            "alter table parent add column e timestamptz default now()",
            false,
            false,
        ),
        (
            "alter table parent add column e float default random()",
            true,
            false,
        ),
        ("alter table parent add column e bigserial", true, false),
        (
            "alter table parent add column e int generated always as (id * 2) stored",
            true,
            false,
        ),
        (
            "alter table parent alter column name type varchar(30)",
            false,
            false,
        ),
        (
            "alter table parent alter column name type text",
            false,
            false,
        ),
        (
            "alter table parent alter column name type varchar(10)",
            true,
            false,
        ),
        (
            "alter table lone alter column c type numeric(12, 2)",
            false,
            false,
        ),
        (
            "alter table lone alter column c type numeric(12, 3)",
            true,
            false,
        ),
        (
            "alter table child alter column amount type bigint",
            true,
            false,
        ),
        (
            "alter table parent alter column note set not null",
            false,
            false,
        ),
        (
            "alter table parent alter column name set not null",
            false,
            true,
        ),
        ("alter table parent set unlogged", true, false),
        (
            "alter table child add constraint s check (amount < 100)",
            false,
            true,
        ),
        (
            "alter table child add constraint s check (amount < 100) not valid",
            false,
            false,
        ),
    ] {
        let migration = EmbeddedMigration::new("1_a", sql);
        let plan = migrator(&database.url(), &[migration])
            .plan()
            .await
            .unwrap();
        let statement = &plan[0].statements[0];
        assert_eq!(
            (statement.rewrite, statement.scan),
            (rewrite, scan),
            "{sql}"
        );
        if sql.contains("unlogged") {
            continue;
        }
        let table = sql.split_whitespace().nth(2).unwrap();
        let file = format!("SELECT pg_relation_filenode('{table}')::bigint");
        let session = database.admin().await.unwrap();
        let before: i64 = session.query_one(&file, &[]).await.unwrap().get(0);
        session
            .batch_execute(&format!("BEGIN; {sql}"))
            .await
            .unwrap();
        let after: i64 = session.query_one(&file, &[]).await.unwrap().get(0);
        session.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(before != after, rewrite, "{sql}");
    }
}

#[tokio::test]
async fn a_plan_has_sizes_and_lines_and_waits_for_nobody() {
    let database = TestDatabase::empty().await.unwrap();
    let first = "create table t1(a int); insert into t1 select generate_series(1, 20000)";
    migrator(&database.url(), &[EmbeddedMigration::new("1_a", first)])
        .run()
        .await
        .unwrap();
    database.sql("ANALYZE t1").await.unwrap();
    let migrations = [
        EmbeddedMigration::new("1_a", first),
        EmbeddedMigration::new(
            "2_b",
            "\nalter table t1 add b int;\n\ncreate table t2(a int);\nalter table t2 add b int",
        ),
        EmbeddedMigration::new("3_c", "create index concurrently on t2(a)")
            .with_metadata("run_in_transaction = false"),
    ];
    let migrator = migrator(&database.url(), &migrations);

    let holder = database.admin().await.unwrap();
    holder
        .batch_execute("BEGIN; LOCK TABLE t1 IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let started = Instant::now();
    let plan = migrator.plan().await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
    holder.batch_execute("ROLLBACK").await.unwrap();

    let lines: Vec<usize> = plan[0]
        .statements
        .iter()
        .map(|statement| statement.line)
        .collect();
    assert_eq!(lines, [2, 4, 5]);
    let altered = &plan[0].statements[0].relations[0];
    assert_eq!(altered.relation, "public.t1");
    assert_eq!(altered.rows, Some(20000));
    assert!(altered.size_bytes.unwrap() > 500_000, "{altered:?}");
    let new = &plan[0].statements[2].relations[0];
    assert!(
        !new.exists && new.lock_mode == LockMode::AccessExclusive,
        "{new:?}"
    );
    assert!(plan[0].transaction && !plan[1].transaction);
    assert_eq!(
        server_state(&database).await.1,
        ["1"],
        "the plan has changed nothing"
    );
}

#[tokio::test]
async fn a_plan_refuses_what_a_run_would_refuse() {
    let database = TestDatabase::empty().await.unwrap();
    migrator(&database.url(), &[table(2)]).run().await.unwrap();
    let late = migrator(&database.url(), &[table(1), table(2)]);
    late.plan().await.unwrap_err();
    late.script().await.unwrap_err();
    assert_eq!(late.allow_out_of_order(true).plan().await.unwrap().len(), 1);
}
