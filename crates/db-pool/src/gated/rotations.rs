//! Rotations over hours: how connections leave, and what is left.

use std::sync::Arc;
use std::time::Duration;

use db_config::Credentials;
use diesel_async::SimpleAsyncConnection;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::session::FRESH;
use super::workplace::{Workplace, ms, on_paused_clock, on_paused_clock_for, quiet, sized};
use crate::logins::Logins;
use crate::plumbing::{self, DrainRules};
use crate::pool::Pool;
use crate::upkeep::rotation::Rotation;

async fn rotate(pool: &Pool, number: u32, rules: DrainRules) -> Rotation {
    let credentials = Credentials::new(format!("user{number}"), "canary");
    let endpoint = plumbing::endpoint(pool).with_credentials(&credentials);
    let _proof = plumbing::prove(pool, &endpoint).await.unwrap();
    plumbing::put_in_place(vec![(pool.clone(), endpoint)], rules)
}

/// case R41: a day of rotations, one every five minutes, some before the previous one is finished, leaves no task,
/// no session and no generation behind.
#[test]
fn a_day_of_rotations_leaves_nothing_behind() {
    on_paused_clock_for(ms(25 * 3_600_000), async {
        let mut profile = sized(8);
        profile.min_idle = 4;
        profile.max_lifetime = Some(ms(600_000));
        let mut work = Workplace::new(profile.clone());
        // The pool that comes with it has no owner of its credentials.
        work.pool.close(Duration::ZERO).await;
        let logins = Logins::new(3);
        work.pool = plumbing::connect_with(&work.server.endpoint(), profile, Arc::clone(&logins));
        assert!(work.pool.warm_up(ms(1_000)).await);
        let rules = DrainRules {
            spread: ms(10_000),
            limit: Some(ms(60_000)),
        };
        for number in 1..=288_u32 {
            let mut held = work.pool.get().await.unwrap();
            let rotation = rotate(&work.pool, number, rules).await;
            if number % 7 == 0 {
                // The next rotation comes before this one is finished.
                sleep(ms(2_000)).await;
                held.batch_execute(FRESH).await.unwrap();
                drop(held);
                continue;
            }
            sleep(ms(20_000)).await;
            held.batch_execute(FRESH).await.unwrap();
            assert!(rotation.retiring() >= 1, "{}", rotation.retiring());
            drop(held);
            rotation.drained().await;
            sleep(ms(280_000)).await;
            let status = work.pool.status();
            assert_eq!((status.retiring, status.open), (0, 4), "{status:?}");
            // The keeper has one task, and each session has a task at either end of its stream.
            let tasks = Handle::current().metrics().num_alive_tasks();
            assert_eq!(tasks, 1 + 2 * 4, "{status:?}");
        }
        assert_eq!(work.pool.status().generation, 289);
        work.comes_to_rest().await;
        work.is_whole(1).await;
        let facts = work.server.facts();
        assert!(facts.most_live <= 9, "{}", facts.most_live);
    });
}

/// Idle connections leave one after the other. Each serves until its turn comes, and the newer one comes first: a
/// full pool never has fewer connections than its size, and never more than one more.
#[test]
fn idle_connections_are_spared_until_their_turn_comes() {
    on_paused_clock(async {
        let work = Workplace::new(sized(10));
        drop(work.all().await);
        quiet().await;
        let rules = DrainRules {
            spread: ms(5_000),
            limit: None,
        };
        let rotation = rotate(&work.pool, 1, rules).await;
        for nth in 1..10 {
            sleep(ms(250)).await;
            // Using one does not end it.
            drop(work.pool.get().await.unwrap());
            sleep(ms(250)).await;
            let status = work.pool.status();
            assert_eq!(status.idle, 10, "{status:?}");
            let left = rotation.retiring();
            assert!((9 - nth..=11 - nth).contains(&left), "{left} after {nth}");
        }
        sleep(ms(2_000)).await;
        assert_eq!(rotation.retiring(), 0);
        work.comes_to_rest().await;
        work.is_whole(1).await;
    });
}

/// The pool asks a server without room for one more than its size only once; then the older one goes first.
#[test]
fn where_there_is_no_room_the_older_one_goes_first() {
    on_paused_clock(async {
        let mut profile = sized(4);
        profile.min_idle = 4;
        let work = Workplace::new(profile);
        assert!(work.pool.warm_up(ms(1_000)).await);
        let rules = DrainRules {
            spread: ms(2_000),
            limit: None,
        };
        let rotation = rotate(&work.pool, 1, rules).await;
        work.server.facts().refusal = Some("53300");
        sleep(ms(5_000)).await;
        assert!(rotation.retiring() < 4, "{}", rotation.retiring());
        work.server.facts().refusal = None;
        sleep(ms(20_000)).await;
        assert_eq!(rotation.retiring(), 0);
        work.comes_to_rest().await;
        work.is_whole(1).await;
    });
}

/// While no login works, the pool closes no connection for its age or its idleness. The keeper finds out by itself
/// when logins work again, even if the pool is full of such connections.
#[test]
fn what_cannot_be_replaced_is_kept() {
    on_paused_clock(async {
        let mut profile = sized(3);
        profile.max_lifetime = Some(ms(10_000));
        profile.idle_timeout = Some(ms(5_000));
        let work = Workplace::new(profile);
        drop(work.all().await);
        work.server.facts().refusal = Some("28P01");
        // The pool knows this only after a login has failed.
        work.pool.get().await.unwrap().discard();
        let holders = [
            work.pool.get().await.unwrap(),
            work.pool.get().await.unwrap(),
        ];
        let waiting = tokio::spawn(work.pool.get());
        sleep(ms(1_000)).await;
        drop(holders);
        drop(waiting.await.unwrap().unwrap());
        sleep(ms(300_000)).await;
        let status = work.pool.status();
        assert_eq!(
            (
                status.open,
                status.closed.by_age,
                status.closed.by_idle_timeout
            ),
            (2, 0, 0)
        );
        let logins = work.server.facts().logins.len();
        work.server.facts().refusal = None;
        sleep(ms(40_000)).await;
        let status = work.pool.status();
        assert_eq!(status.open, 0, "{status:?}");
        // One login has shown that logins work; nobody needs another one.
        assert!(work.server.facts().logins.len() <= logins + 3);
        work.comes_to_rest().await;
        work.is_whole(1).await;
    });
}
