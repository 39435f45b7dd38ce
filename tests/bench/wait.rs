//! How long the unluckiest of many callers waits.

use std::time::{Duration, Instant};

use crate::accounts;
use crate::contenders::Contenders;
use crate::say;

const TASKS: usize = 64;
/// The duration of the run. It also bounds the worst wait that can be seen.
const FOR: Duration = Duration::from_secs(4);

/// How long is the worst wait of 64 tasks on 10 connections in a tight loop, compared with bb8 without
/// validation?
pub(crate) async fn worst(contenders: &Contenders, name: &'static str) {
    let bb8 = contenders.bb8(false).await;
    let pool = contenders.pool().clone();
    let ours = among_tasks(move || {
        let pool = pool.clone();
        async move {
            let began = Instant::now();
            let mut conn = pool.get().await.unwrap();
            let waited = began.elapsed();
            accounts::select(&mut conn).await;
            waited
        }
    });
    let (ours, done) = ours.await;
    let theirs = among_tasks(move || {
        let bb8 = bb8.clone();
        async move {
            let began = Instant::now();
            let mut conn = bb8.get().await.unwrap();
            let waited = began.elapsed();
            accounts::select(&mut conn).await;
            waited
        }
    });
    let (theirs, their_done) = theirs.await;
    let verdict = if ours * 50 <= theirs {
        "PASS"
    } else {
        "short of target"
    };
    say(&format!(
        "{name}: {ours:?} against {theirs:?}, target 1/50: {verdict} ({done} rounds against {their_done})"
    ));
}

/// The worst wait, including waits that are not over at the end, and the number of rounds.
async fn among_tasks<F>(round: impl Fn() -> F + Clone + Send + 'static) -> (Duration, u64)
where
    F: Future<Output = Duration> + Send,
{
    let end = Instant::now() + FOR;
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let round = round.clone();
            tokio::spawn(async move {
                let (mut worst, mut done) = (Duration::ZERO, 0);
                while Instant::now() < end {
                    worst = worst.max(round().await);
                    done += 1;
                }
                (worst, done)
            })
        })
        .collect();
    let (mut worst, mut done) = (Duration::ZERO, 0);
    for task in tasks {
        let (waited, rounds) = task.await.unwrap();
        (worst, done) = (worst.max(waited), done + rounds);
    }
    (worst, done)
}
