//! Many callers in the queue: what each costs, and whether each gets its share.

use std::time::{Duration, Instant};

use app_db::Pool;

use crate::contenders::Contenders;
use crate::pairs::Outcome;
use crate::say;
use crate::{accounts, bb8_pool};

const FEW: u32 = 100;
const MANY: u32 = 10_000;
const PAIRS: usize = 20;

/// Does a checkout from a queue of 10 000 cost as much as one from a queue of 100? If the cost grew with
/// the queue, it would be a hundred times as much. Memory outside the caches may double it.
pub(crate) async fn grants(contenders: &Contenders, name: &'static str) {
    let pool = contenders.pool_of(1).await;
    let mut sampled = Vec::new();
    for _ in 0..PAIRS {
        let many = per_grant(&pool, MANY).await;
        let mut few = Duration::ZERO;
        for _ in 0..MANY / FEW {
            few += per_grant(&pool, FEW).await;
        }
        sampled.push((many, few / (MANY / FEW)));
    }
    Outcome::of(name, sampled).answer(0.5);
}

/// The time of one checkout and return, while `callers` waiting callers are served one after another.
async fn per_grant(pool: &Pool, callers: u32) -> Duration {
    let held = pool.get().await.unwrap();
    let waiting: Vec<_> = (0..callers)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { drop(pool.get().await.unwrap()) })
        })
        .collect();
    while pool.status().waiting < callers {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    drop(held);
    for caller in waiting {
        caller.await.unwrap();
    }
    began.elapsed() / callers
}

const TASKS: usize = 50;
const FOR: Duration = Duration::from_secs(3);

/// How evenly do 50 tasks share one connection? Jain's index is 1 if each gets the same, and 1/50 if one
/// task gets everything.
pub(crate) async fn fairness(contenders: &Contenders, name: &'static str) {
    let pool = contenders.pool_of(1).await;
    let ours = among_tasks(|| async {
        accounts::select(&mut pool.get().await.unwrap()).await;
    });
    let (ours, done) = ours.await;
    let bb8 = bb8_pool::connect(&contenders.url(), 1, false).await;
    let theirs = among_tasks(|| async {
        accounts::select(&mut bb8.get().await.unwrap()).await;
    });
    let (theirs, their_done) = theirs.await;
    let verdict = if ours >= 0.95 {
        "PASS"
    } else {
        "short of target"
    };
    say(&format!(
        "{name}: {ours:.3} against {theirs:.3}, target 0.95: {verdict} ({done} rounds against {their_done})"
    ));
}

/// Jain's index of the rounds that each task did, and how many there were.
async fn among_tasks(round: impl AsyncFn()) -> (f64, f64) {
    let end = Instant::now() + FOR;
    let task = async || {
        let mut done = 0.0;
        while Instant::now() < end {
            round().await;
            done += 1.0;
        }
        done
    };
    let done = futures_util::future::join_all((0..TASKS).map(|_| task())).await;
    let sum: f64 = done.iter().sum();
    let squares: f64 = done.iter().map(|done| done * done).sum();
    (sum * sum / (TASKS as f64 * squares), sum)
}
