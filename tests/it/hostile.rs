//! A server that lies, stalls, floods or breaks off: a typed error in time, little memory, a runtime that
//! goes on, and never a wrong row.

mod answers;
mod login;
mod peer;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use app_db::{Pool, PoolProfile};
use db_pool::PoolerMode;

use self::peer::Fake;

/// The result of a client.
struct Survived<T> {
    value: T,
    /// The longest time in which its runtime did nothing else, without the time that the machine gave to
    /// others.
    stalled: Duration,
    /// By how many bytes its memory grew at most.
    grown: usize,
}

/// Runs a client in a runtime of one thread, beside a task that ticks.
///
/// # Panics
/// When the runtime stands still for so long that the client does not come back.
fn survive<T: Send + 'static>(client: impl AsyncFnOnce() -> T + Send + 'static) -> Survived<T> {
    let (sender, receiver) = mpsc::channel();
    // It is not joined, because a blocked runtime may stay blocked for half an hour.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let survived = runtime.block_on(async {
            let before = resident();
            let (mut stalled, mut peak) = (Duration::ZERO, before);
            let ticking = async {
                loop {
                    let (began, queued) = (Instant::now(), queued());
                    // How late it wakes is what is measured.
                    tokio::time::sleep(TICK).await;
                    let waited_for_a_core = self::queued().saturating_sub(queued);
                    let own = began.elapsed().saturating_sub(waited_for_a_core);
                    stalled = stalled.max(own);
                    peak = peak.max(resident());
                }
            };
            let value = tokio::select! {
                value = client() => value,
                () = ticking => unreachable!("the ticker does not end"),
            };
            Survived {
                value,
                stalled,
                grown: peak.max(resident()).saturating_sub(before),
            }
        });
        // The test has given up when nobody receives it.
        let _unread = sender.send(survived);
        runtime.shutdown_background();
    });
    let survived = receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| panic!("the client did not come back"));
    assert!(
        survived.stalled < Duration::from_millis(500),
        "the runtime stood still for {:?}",
        survived.stalled
    );
    assert!(
        survived.grown < 64 << 20,
        "the memory grew by {} MB",
        survived.grown >> 20
    );
    survived
}

const TICK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// How long this thread has been ready to run, and another one had the core.
fn queued() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split(' ').nth(1).map(str::parse);
    Duration::from_nanos(nanoseconds.and_then(Result::ok).unwrap_or_default())
}

/// The process's resident memory in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// A profile that waits briefly for everything.
fn impatient() -> PoolProfile {
    let mut profile = crate::pool::sized(2);
    profile.connect_timeout = Duration::from_millis(400);
    profile.checkout_timeout = Duration::from_millis(900);
    profile.pooler = PoolerMode::None;
    profile
}

async fn pool(fake: &Fake, profile: PoolProfile) -> Pool {
    Pool::connect_lazy(crate::pool::url(&fake.url()), profile)
}
