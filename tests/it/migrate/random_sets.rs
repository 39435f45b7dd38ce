//! Sets of migrations by chance, whose runs are ended at random: by a signal, by the server, or not at all. The
//! history is always a prefix of what is there, standard output has nothing but JSON lines, no lock is left, and a run
//! that is let through finishes.
//!
//! `just migration-kills` runs a hundred sets. `DB_TESTS_MIGRATION_SETS` says how many, and
//! `DB_TESTS_MIGRATION_SEED` repeats one.

use std::fmt::Write as _;
use std::process::{Output, Stdio};
use std::time::Duration;

use fastrand::Rng;
use harness::TestDatabase;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::dbctl::Dbctl;

/// A set of migrations, numbered from 1.
struct Set(Vec<OneMigration>);

struct OneMigration {
    in_transaction: bool,
    /// The objects that its statements make.
    objects: Vec<Object>,
}

#[derive(Clone, Copy)]
enum Object {
    Table,
    /// An index of the table that all sets have.
    Index {
        concurrently: bool,
        if_not_exists: bool,
    },
    Function,
}

impl Set {
    fn by_chance(rng: &mut Rng) -> Self {
        let count = rng.usize(2..7);
        Self((0..count).map(|_| OneMigration::by_chance(rng)).collect())
    }

    fn write(&self, dbctl: &Dbctl) {
        for (number, migration) in (1..).zip(&self.0) {
            let mut up = String::new();
            for (object, kind) in migration.objects.iter().enumerate() {
                let _ = writeln!(up, "{};", kind.create(&format!("made_{number}_{object}")));
                if migration.in_transaction {
                    let _ = writeln!(up, "select pg_sleep(0.02);");
                }
            }
            dbctl.add_migration(&format!("{number}_m"), &up);
            let metadata = format!("run_in_transaction = {}", migration.in_transaction);
            let folder = dbctl.path(&format!("migrations/{number}_m/metadata.toml"));
            std::fs::write(folder, metadata).unwrap();
        }
    }
}

impl OneMigration {
    fn by_chance(rng: &mut Rng) -> Self {
        let in_transaction = rng.bool();
        let count = rng.usize(1..5);
        let objects = (0..count).map(|_| match rng.u8(0..4) {
            0 | 1 => Object::Table,
            2 => Object::Index {
                concurrently: !in_transaction,
                if_not_exists: rng.bool(),
            },
            _ => Object::Function,
        });
        Self {
            in_transaction,
            objects: objects.collect(),
        }
    }
}

impl Object {
    fn create(self, name: &str) -> String {
        match self {
            Self::Table => format!("create table {name} as select pg_sleep(0.02) is null as slept"),
            Self::Index {
                concurrently,
                if_not_exists,
            } => {
                let concurrently = if concurrently { "concurrently " } else { "" };
                let exists = if if_not_exists { "if not exists " } else { "" };
                format!("create index {concurrently}{exists}{name} on base(a)")
            }
            Self::Function => {
                format!(
                    "create function {name}() returns int language sql begin atomic; select 1; end"
                )
            }
        }
    }
}

/// How many objects of each migration are there and whole, and which versions are on record.
async fn state(database: &TestDatabase, set: &Set) -> (Vec<usize>, Vec<String>) {
    let mut there = Vec::new();
    for number in 1..=set.0.len() {
        let sql = format!(
            "SELECT (SELECT count(*) FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid \
             WHERE relname LIKE 'made\\_{number}\\_%' AND coalesce(i.indisvalid, true)) \
             + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'made\\_{number}\\_%')"
        );
        there.push(usize::try_from(database.scalar::<i64>(&sql).await.unwrap()).unwrap());
    }
    let exists = "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL";
    if !database.scalar::<bool>(exists).await.unwrap() {
        return (there, Vec::new());
    }
    let versions = "SELECT coalesce(array_agg(version::text ORDER BY version), '{}') FROM __diesel_schema_migrations";
    (there, database.scalar(versions).await.unwrap())
}

/// Everything on record is there, nothing behind the next one is, and the next one is there in part only
/// outside a transaction.
fn assert_prefix(set: &Set, (there, applied): &(Vec<usize>, Vec<String>), seed: u64) {
    for (index, migration) in set.0.iter().enumerate() {
        let (found, all) = (there[index], migration.objects.len());
        if index < applied.len() {
            assert_eq!(
                applied[index],
                (index + 1).to_string(),
                "seed {seed}: {there:?} {applied:?}"
            );
            assert_eq!(found, all, "seed {seed}: {there:?} {applied:?}");
        } else if index == applied.len() && !migration.in_transaction {
            assert!(found <= all, "seed {seed}: {there:?} {applied:?}");
        } else {
            assert_eq!(found, 0, "seed {seed}: {there:?} {applied:?}");
        }
    }
}

/// How a run is ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Interrupt,
    Terminate,
    /// The server ends its session.
    Session,
}

impl End {
    const ALL: [Self; 4] = [Self::Kill, Self::Interrupt, Self::Terminate, Self::Session];

    async fn bring(self, pid: u32, database: &TestDatabase) {
        let signal = match self {
            Self::Kill => Signal::KILL,
            Self::Interrupt => Signal::INT,
            Self::Terminate => Signal::TERM,
            Self::Session => {
                let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE application_name = 'app-db migrator' AND datname = current_database()";
                return database.sql(end).await.unwrap();
            }
        };
        // It may have ended meanwhile.
        let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal);
    }
}

/// Each whole line is one event. Only a program that was killed may leave half a line.
fn assert_events(output: &Output, seed: u64) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        let event = serde_json::from_str::<Value>(line);
        let event = event.unwrap_or_else(|error| panic!("seed {seed}: {error}: {line}"));
        assert_eq!(event["schema"], 1, "seed {seed}: {line}");
    }
}

/// Runs what is pending. Outside a transaction a run may be killed between a statement and its record: then the next one
/// finds the object there, and the way out is to go on with the statement behind it. Returns whether that was so.
async fn run_to_the_end(dbctl: &Dbctl, seed: u64) -> bool {
    let outcome = dbctl.run("migrate run --json").await;
    if outcome.code == Some(0) {
        return false;
    }
    let events = outcome.json_lines();
    let failed = events.last().unwrap();
    let code = failed["sqlstate"].as_str().unwrap_or_default();
    assert!(
        ["42P07", "42723"].contains(&code),
        "seed {seed}: {outcome:?}"
    );
    let version = failed["version"].as_str().unwrap();
    let damage = dbctl.run("migrate repair --json").await.json();
    let mut unfinished = damage.as_array().unwrap().iter();
    let unfinished = unfinished.find(|d| d["kind"] == "unfinished" && d["version"] == version);
    let done = unfinished.unwrap_or_else(|| panic!("seed {seed}: {damage}"))["done"].as_u64();
    let repair = format!(
        "migrate repair --restart {version} --at {}",
        done.unwrap() + 2
    );
    dbctl.run(&repair).await.ended_with(0);
    dbctl.run("migrate run").await.ended_with(0);
    true
}

async fn lock_is_free(database: &TestDatabase) {
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    harness::wait_until("the lock is free", crate::SOON, async || {
        database.scalar::<i64>(locks).await.unwrap() == 0
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_ended_at_random_leaves_a_prefix_and_no_lock() {
    let sets = std::env::var("DB_TESTS_MIGRATION_SETS")
        .ok()
        .and_then(|sets| sets.parse().ok());
    let given = std::env::var("DB_TESTS_MIGRATION_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let (mut ended, mut repaired) = ([0; End::ALL.len()], 0);
    for _ in 0..sets.unwrap_or(3) {
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        let mut rng = Rng::with_seed(seed);
        let set = Set::by_chance(&mut rng);
        let database = TestDatabase::empty().await.unwrap();
        let owner = database.role().name();
        for sql in [
            "CREATE TABLE base AS SELECT generate_series(1, 20000) AS a",
            &format!("ALTER TABLE base OWNER TO {owner}"),
        ] {
            database.sql(sql).await.unwrap();
        }
        let dbctl = Dbctl::with_migration(&database, "0_first", "select 1");
        std::fs::remove_dir_all(dbctl.path("migrations/0_first")).unwrap();
        set.write(&dbctl);
        for _ in 0..rng.usize(1..4) {
            let run = dbctl
                .command("migrate run --json")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let pid = run.id().unwrap();
            let mut output = std::pin::pin!(run.wait_with_output());
            let life = Duration::from_millis(rng.u64(20..400));
            let how = rng.usize(0..End::ALL.len());
            // One that ends by itself may have found a statement that its predecessor had run and not recorded.
            let output = match tokio::time::timeout(life, &mut output).await {
                Ok(output) => output.unwrap(),
                Err(_) => {
                    End::ALL[how].bring(pid, &database).await;
                    ended[how] += 1;
                    output.await.unwrap()
                }
            };
            assert_events(&output, seed);
            assert_prefix(&set, &state(&database, &set).await, seed);
            // Nobody else takes it away.
            lock_is_free(&database).await;
        }
        repaired += usize::from(run_to_the_end(&dbctl, seed).await);
        let end = state(&database, &set).await;
        assert_eq!(end.1.len(), set.0.len(), "seed {seed}");
        assert_prefix(&set, &end, seed);
        lock_is_free(&database).await;
    }
    println!(
        "ended {:?}: {ended:?} times; repaired {repaired} sets",
        End::ALL
    );
    assert!(ended.iter().sum::<usize>() > 0, "no run was ended");
}
