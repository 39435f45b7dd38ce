//! A process that has no file descriptor left.

use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

use app_db::{Kind, Pool};
use db_pool::ConnectFailure;
use harness::TestDatabase;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::at_rest::unserved;
use crate::pool::{sized, url};

const NAME: &str = "outage::descriptors::a_process_without_descriptors_says_so_and_recovers";
const CHILD: &str = "DB_TESTS_FEW_DESCRIPTORS";

/// case R17: in a process of its own, whose limit nobody else feels.
#[test]
fn a_process_without_descriptors_says_so_and_recovers() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if let Ok(address) = std::env::var(CHILD) {
        return runtime.block_on(run_out_of_descriptors(&address));
    }
    let db = runtime.block_on(TestDatabase::empty()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, db.url())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

async fn run_out_of_descriptors(address: &str) {
    let few = Some(64);
    let limit = Rlimit {
        current: few,
        maximum: few,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut profile = sized(5);
    profile.checkout_timeout = Duration::from_millis(2_500);
    let pool = unserved(Pool::connect(url(address), profile).await.unwrap());
    let held = pool.get().await.unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    let error = pool.get().await.unwrap_err();
    let cause = error.connect_error().unwrap();
    assert_eq!(cause.failure(), ConnectFailure::NoDescriptors, "{cause}");
    assert_eq!(error.kind(), Kind::Busy, "one connection lives: {error:?}");
    let tried = pool.status().connects.failed;
    assert!((2..=6).contains(&tried), "{tried} attempts in 2.5 seconds");

    drop(files);
    let began = Instant::now();
    let second = pool.get().await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop((held, second));
    assert_eq!(pool.status().open, 2);
    pool.rests().await;
}
