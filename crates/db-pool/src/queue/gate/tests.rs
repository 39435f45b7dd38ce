//! The gate alone, on a paused clock.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::{JoinHandle, yield_now};

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Starts a caller and waits until it stands in the queue.
async fn caller(gate: &Arc<Gate>) -> JoinHandle<Result<Permit, Refusal>> {
    let (mine, before) = (Arc::clone(gate), gate.waiting());
    let task = tokio::spawn(async move { mine.enter(soon()).await });
    while gate.waiting() == before {
        yield_now().await;
    }
    task
}

/// How many permits are free.
fn free(gate: &Arc<Gate>) -> usize {
    let held: Vec<_> = std::iter::from_fn(|| gate.try_enter().ok()).collect();
    held.len()
}

/// case F10: nobody overtakes.
#[tokio::test(start_paused = true)]
async fn permits_go_out_in_the_order_of_arrival() {
    let gate = Gate::new(1, None);
    let held = gate.enter(soon()).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            tokio::spawn(async move {
                let _permit = gate.enter(soon()).await.unwrap();
                order.lock().unwrap().push(n);
            })
        })
        .collect();
    while gate.waiting() < 10 {
        yield_now().await;
    }
    drop(held);
    // A permit is free only when nobody waits for it.
    assert_eq!(gate.try_enter().unwrap_err(), Refusal::Taken);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(gate.waiting(), 0);
}

/// case F10: 50 tasks ask again and again for one permit, and none gets more than its share.
#[tokio::test(start_paused = true)]
async fn a_permit_in_steady_demand_is_shared_evenly() {
    const TASKS: usize = 50;
    let gate = Gate::new(1, None);
    let shares = Arc::new(Mutex::new(vec![0_u32; TASKS]));
    let tasks: Vec<_> = (0..TASKS)
        .map(|nth| {
            let (gate, shares) = (Arc::clone(&gate), Arc::clone(&shares));
            tokio::spawn(async move {
                loop {
                    let permit = gate.enter(soon()).await.unwrap();
                    shares.lock().unwrap()[nth] += 1;
                    yield_now().await;
                    drop(permit);
                }
            })
        })
        .collect();
    while shares.lock().unwrap().iter().sum::<u32>() < 5_000 {
        yield_now().await;
    }
    tasks.iter().for_each(JoinHandle::abort);
    let shares = shares.lock().unwrap();
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(most - least <= 1, "{shares:?}");
}

/// case R01: a caller waits no longer than it said.
#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_and_when_the_gate_closes() {
    let gate = Gate::new(1, None);
    let _held = gate.enter(soon()).await.unwrap();
    let began = Instant::now();
    assert_eq!(gate.enter(soon()).await.unwrap_err(), Refusal::TimedOut);
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(gate.enter(began).await.unwrap_err(), Refusal::TimedOut);
    let (entered, ()) = tokio::join!(gate.enter(soon()), async { gate.close() });
    assert_eq!(entered.unwrap_err(), Refusal::Closed);
    assert_eq!(gate.try_enter().unwrap_err(), Refusal::Closed);
    assert_eq!(gate.waiting(), 0);
}

/// case R15: when a thousand callers come at once, exactly the allowed number waits. A place that a
/// caller gives up is free at once.
#[tokio::test(start_paused = true)]
async fn no_more_callers_wait_than_may() {
    let gate = Gate::new(5, Some(100));
    let callers = (0..1_000).map(|_| {
        let gate = Arc::clone(&gate);
        tokio::spawn(async move { gate.enter(soon()).await.map(std::mem::forget) })
    });
    let outcomes = join_all(callers).await;
    let count = |wanted: Result<(), Refusal>| {
        let alike = |outcome: &&Result<_, _>| *outcome.as_ref().unwrap() == wanted;
        outcomes.iter().filter(alike).count()
    };
    assert_eq!(count(Ok(())), 5);
    assert_eq!(count(Err(Refusal::TimedOut)), 100);
    assert_eq!(count(Err(Refusal::Full(100))), 895);

    let nobody = Gate::new(1, Some(0));
    let held = nobody.enter(soon()).await.unwrap();
    assert_eq!(nobody.enter(soon()).await.unwrap_err(), Refusal::Full(0));
    drop(held);
    nobody.enter(soon()).await.unwrap();
}

/// case F11: callers that leave at any moment, before or after they were given their permit, lose no
/// permit.
#[tokio::test(start_paused = true)]
async fn callers_that_give_up_take_no_permit_with_them() {
    fastrand::seed(11);
    let gate = Gate::new(3, None);
    for _ in 0..200 {
        let mut held: Vec<_> = (0..3).map(|_| gate.try_enter().unwrap()).collect();
        let mut waiting = Vec::new();
        for _ in 0..10 {
            waiting.push(caller(&gate).await);
        }
        while !(held.is_empty() && waiting.is_empty()) {
            match fastrand::u8(0..3) {
                0 if !held.is_empty() => drop(held.swap_remove(fastrand::usize(..held.len()))),
                1 if !waiting.is_empty() => {
                    let gone = waiting.swap_remove(fastrand::usize(..waiting.len()));
                    gone.abort();
                    if fastrand::bool() {
                        let _cancelled = gone.await;
                    }
                }
                _ => yield_now().await,
            }
        }
        // The runtime drops the aborted tasks.
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!((gate.waiting(), free(&gate)), (0, 3));
    }
}

/// case R18: growing lets waiting callers through at once. Shrinking waits for permits that are out, and
/// loses no caller.
#[tokio::test(start_paused = true)]
async fn resizing_keeps_the_queue_and_is_exact_once_drained() {
    let gate = Gate::new(2, None);
    let mut held: Vec<_> = (0..2).map(|_| gate.try_enter().unwrap()).collect();
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(caller(&gate).await);
    }
    gate.resize(5);
    for task in waiting.drain(..3) {
        held.push(task.await.unwrap().unwrap());
    }
    gate.resize(1);
    while held.len() > 1 {
        held.pop();
        yield_now().await;
        assert_eq!(gate.waiting(), 3, "{} are still out", held.len());
    }
    held.pop();
    for task in waiting {
        let permit = task.await.unwrap().unwrap();
        assert_eq!(gate.lock().out, 1);
        drop(permit);
    }
    assert_eq!(free(&gate), 1);
}

/// req 3.01, req 3.21: every wait counts, also one that timed out or was given up.
#[tokio::test(start_paused = true)]
async fn waits_are_counted_however_they_end() {
    let gate = Gate::new(1, None);
    let held = gate.enter(soon()).await.unwrap();
    let second = Duration::from_secs(1);
    let in_vain = gate.enter(Instant::now() + second).await;
    assert_eq!(in_vain.unwrap_err(), Refusal::TimedOut);
    let given_up = tokio::time::timeout(2 * second, gate.enter(soon())).await;
    given_up.unwrap_err();
    let served = caller(&gate).await;
    tokio::time::advance(3 * second).await;
    drop(held);
    drop(served.await.unwrap().unwrap());
    assert_eq!(gate.waits.count(), 3);
    let total = gate.waits.total();
    assert!(
        total >= 6 * second && total < 6 * second + second / 10,
        "{total:?}"
    );
    assert_eq!(gate.waits.quantiles().count, 4);
}
