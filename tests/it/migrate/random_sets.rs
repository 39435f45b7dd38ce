//! Sets of migrations by chance, whose runs are killed at random: the history is always a prefix of what is
//! there, and a run that is let through finishes.
//!
//! `just migration-kills` runs a hundred sets. `DB_TESTS_MIGRATION_SETS` says how many, and
//! `DB_TESTS_MIGRATION_SEED` repeats one.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use harness::TestDatabase;

use crate::dbctl::Dbctl;

/// A set: for each migration how many tables it makes, and whether in a transaction.
struct Set(Vec<(usize, bool)>);

impl Set {
    fn by_chance(rng: &mut Rng) -> Self {
        let count = rng.usize(2..7);
        Self((0..count).map(|_| (rng.usize(1..5), rng.bool())).collect())
    }

    fn write(&self, dbctl: &Dbctl) {
        for (number, (tables, in_transaction)) in (1..).zip(&self.0) {
            let mut up = String::new();
            for table in 0..*tables {
                let _ = writeln!(
                    up,
                    "create table made_{number}_{table}();\nselect pg_sleep(0.02);"
                );
            }
            dbctl.add_migration(&format!("{number}_m"), &up);
            let metadata = format!("run_in_transaction = {in_transaction}");
            let folder = dbctl.path(&format!("migrations/{number}_m/metadata.toml"));
            std::fs::write(folder, metadata).unwrap();
        }
    }
}

/// Which tables of each migration are there, and which versions are on record.
async fn state(database: &TestDatabase, set: &Set) -> (Vec<usize>, Vec<String>) {
    let mut there = Vec::new();
    for number in 1..=set.0.len() {
        let sql = format!("SELECT count(*) FROM pg_class WHERE relname LIKE 'made\\_{number}\\_%'");
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
    for (index, (tables, in_transaction)) in set.0.iter().enumerate() {
        let found = there[index];
        if index < applied.len() {
            assert_eq!(
                applied[index],
                (index + 1).to_string(),
                "seed {seed}: {there:?} {applied:?}"
            );
            assert_eq!(found, *tables, "seed {seed}: {there:?} {applied:?}");
        } else if index == applied.len() && !in_transaction {
            assert!(found <= *tables, "seed {seed}: {there:?} {applied:?}");
        } else {
            assert_eq!(found, 0, "seed {seed}: {there:?} {applied:?}");
        }
    }
}

/// Runs what is pending. Outside a transaction a run may be killed between a statement and its record: then the next one
/// finds the table there, and the way out is to go on with the statement behind it.
async fn run_to_the_end(dbctl: &Dbctl, seed: u64) {
    let outcome = dbctl.run("migrate run").await;
    if outcome.code == Some(0) {
        return;
    }
    let said = &outcome.stderr;
    assert!(
        said.contains("SQLSTATE 42P07; it runs outside a transaction"),
        "seed {seed}: {said}"
    );
    let number_behind = |words: &str| -> usize {
        let (_, rest) = said.split_once(words).unwrap();
        let digits = rest.trim_start().split(|char: char| !char.is_ascii_digit());
        digits.into_iter().next().unwrap().parse().unwrap()
    };
    let version = number_behind("migration ");
    let done = number_behind("not recorded, but ");
    let repair = format!("migrate repair --restart {version} --at {}", done + 2);
    dbctl.run(&repair).await.ended_with(0);
    dbctl.run("migrate run").await.ended_with(0);
}

#[tokio::test]
async fn a_run_that_is_killed_at_random_leaves_a_prefix() {
    let sets = std::env::var("DB_TESTS_MIGRATION_SETS")
        .ok()
        .and_then(|sets| sets.parse().ok());
    let given = std::env::var("DB_TESTS_MIGRATION_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut killed = 0;
    for _ in 0..sets.unwrap_or(3) {
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        let mut rng = Rng::with_seed(seed);
        let set = Set::by_chance(&mut rng);
        let database = TestDatabase::empty().await.unwrap();
        let dbctl = Dbctl::with_migration(&database, "0_first", "select 1");
        std::fs::remove_dir_all(dbctl.path("migrations/0_first")).unwrap();
        set.write(&dbctl);
        for _ in 0..rng.usize(1..4) {
            let mut run = dbctl
                .command("migrate run")
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let life = Duration::from_millis(rng.u64(20..400));
            // One that ends by itself may have found a statement that its predecessor had run and not recorded.
            if tokio::time::timeout(life, run.wait()).await.is_err() {
                run.kill().await.unwrap();
                killed += 1;
            }
            // The server rolls back when it notices; the next run waits for that. Until then a migration may be
            // there that nobody sees.
            assert_prefix(&set, &state(&database, &set).await, seed);
        }
        run_to_the_end(&dbctl, seed).await;
        let end = state(&database, &set).await;
        assert_eq!(end.1.len(), set.0.len(), "seed {seed}");
        assert_prefix(&set, &end, seed);
        let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        harness::wait_until("the lock is free", crate::SOON, async || {
            database.scalar::<i64>(locks).await.unwrap() == 0
        })
        .await;
    }
    assert!(killed > 0, "no run was killed");
}
