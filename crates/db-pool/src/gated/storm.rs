//! Anything at any time: callers, work, drops, gates, outages, rotations and sizes in random order.
//!
//! The number of a run decides everything in it. The pool must be whole when the storm is over, and no
//! caller may have got another caller's session, answer or transaction.

use std::time::Duration;

use db_config::Credentials;
use diesel::QueryResult;
use diesel::result::Error::RollbackTransaction;
use diesel::sql_types::Integer;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::sleep;

use super::Point;
use super::server::Doing;
use super::session::FRESH;
use super::workplace::{Workplace, ms, on_paused_clock, quiet, sized};
use crate::checkout::connection::Connection;
use crate::pool::Pool;
use crate::profile::PoolProfile;

/// A profile with short times, so that things happen soon.
fn profile() -> PoolProfile {
    let mut profile = sized(fastrand::u32(1..=3));
    let often = |time: Duration| fastrand::bool().then_some(time);
    profile.min_idle = fastrand::u32(0..=3);
    profile.max_waiting = fastrand::bool().then_some(2);
    profile.idle_timeout = often(ms(1_000));
    profile.max_lifetime = often(ms(2_000));
    profile.max_uses = fastrand::u32(0..=4);
    profile.validate_after = fastrand::choice([ms(0), ms(5), ms(60_000)]).unwrap();
    profile.validation_timeout = ms(700);
    profile.reconnect.attempts = fastrand::u32(1..=10);
    profile
}

/// Asks for a connection and works on it.
async fn caller(pool: Pool) {
    let patience = fastrand::choice([0, 1, 20, 900, 3_000]).unwrap();
    let asked = match fastrand::bool() {
        true => pool.get_timeout(ms(patience)).await,
        false => pool.try_get().await,
    };
    if let Ok(mut conn) = asked {
        let _broken_off = work(&mut conn).await;
        if fastrand::u8(..) < 20 {
            conn.discard();
        }
    }
}

async fn work(conn: &mut Connection) -> QueryResult<()> {
    conn.batch_execute(FRESH).await?;
    for _ in 0..fastrand::u32(0..4) {
        let number = fastrand::i32(1..);
        match fastrand::u32(0..6) {
            0 => select(conn, number).await?,
            1 => conn.batch_execute("set lock_timeout = 5").await?,
            2 => sleep(ms(fastrand::u64(0..900))).await,
            3 => conn.batch_execute("begin; update t set v = 1").await?,
            4 => {
                let transaction = conn.transaction(async |conn| {
                    select(conn, number).await?;
                    conn.batch_execute("update t set v = 1").await
                });
                transaction.await?;
            }
            _ => {
                let transaction = conn.transaction(async |conn| {
                    select(conn, number).await?;
                    Err::<(), _>(RollbackTransaction)
                });
                assert_ne!(transaction.await, Ok(()));
            }
        }
    }
    Ok(())
}

async fn select(conn: &mut diesel_async::AsyncPgConnection, number: i32) -> QueryResult<()> {
    let query = diesel::dsl::sql::<Integer>(&format!("select {number}"));
    let answer: i32 = query.get_result(conn).await?;
    assert_eq!(answer, number, "the answer to another statement");
    Ok(())
}

/// Does one random thing.
async fn happens(work: &Workplace, tasks: &mut Vec<JoinHandle<()>>) {
    let pool = work.pool.clone();
    let gates = &work.server.gates;
    let gate = fastrand::choice(Point::ALL).unwrap();
    match fastrand::u32(0..20) {
        0..5 => tasks.push(tokio::spawn(caller(pool))),
        5..7 if !tasks.is_empty() => {
            let task = tasks.swap_remove(fastrand::usize(..tasks.len()));
            task.abort();
        }
        7..9 => gates.shut(gate),
        9..11 => gates.open(gate),
        11 => gates.open_all(),
        12 => pool.resize(fastrand::u32(1..=4)).unwrap(),
        13 => {
            let user = format!("user {}", fastrand::u32(..));
            let rotate = async move { drop(pool.rotate(Credentials::new(user, "canary")).await) };
            tasks.push(tokio::spawn(rotate));
        }
        14 => match fastrand::u32(0..6) {
            0 => work.server.stop(),
            1 | 2 => work.server.resume(),
            3 => work.server.facts().refusal = Some("57P03"),
            4 => work.server.facts().refusal = Some("28P01"),
            _ => work.server.facts().refusal = None,
        },
        15 => {
            let probe = async move { drop(crate::plumbing::probe(&pool, ms(225)).await) };
            tasks.push(tokio::spawn(probe));
        }
        16 => sleep(ms(fastrand::u64(1..700))).await,
        17 => sleep(ms(fastrand::choice([1_000, 2_000, 6_000]).unwrap())).await,
        18 => quiet().await,
        _ => {
            for _ in 0..fastrand::u32(1..9) {
                yield_now().await;
            }
        }
    }
}

async fn storm() {
    let work = Workplace::new(profile());
    let mut tasks = Vec::new();
    for _ in 0..fastrand::u32(1..60) {
        happens(&work, &mut tasks).await;
    }
    for task in &tasks {
        if fastrand::bool() {
            task.abort();
        }
    }
    work.server.gates.open_all();
    work.server.facts().refusal = None;
    work.server.resume();
    // By then every bound, delay and patience is over.
    sleep(ms(40_000)).await;
    work.comes_to_rest().await;
    work.is_at_rest();
    work.serves_as_many_as_it_may().await;
    work.is_at_rest();
    for task in tasks {
        if let Err(ended) = task.await {
            assert!(ended.is_cancelled(), "{ended}");
        }
    }
    let facts = work.server.facts();
    let at_commit = facts
        .cancels
        .iter()
        .find(|cancel| cancel.found == Some(Doing::Commit));
    assert_eq!(at_commit, None, "a COMMIT that was to be cancelled");
}

/// req 3.40: the failure cases of a pool in random mixtures: a hundred runs, or `STORMS` runs from number
/// `STORM` on.
#[test]
fn whatever_happens_the_pool_is_whole_afterwards() {
    let from = std::env::var("STORM").map_or(0, |from| from.parse().unwrap());
    let many = std::env::var("STORMS").map_or(100, |many| many.parse().unwrap());
    for number in from..from + many {
        println!("storm {number}");
        fastrand::seed(number);
        on_paused_clock(storm());
    }
}
