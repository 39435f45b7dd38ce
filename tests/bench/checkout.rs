//! A checkout and one statement, with our pool and with bb8.

use crate::accounts;
use crate::contenders::Contenders;
use crate::pairs::pairs;

/// How much faster is `pool.get()` and a SELECT than bb8 with its defaults, which ping every connection?
pub(crate) async fn against_defaults(contenders: &Contenders, name: &'static str) {
    select(contenders, name, true, 1.8).await;
}

/// Is `pool.get()` and a SELECT as fast as bb8 without validation?
pub(crate) async fn against_unvalidated(contenders: &Contenders, name: &'static str) {
    select(contenders, name, false, 0.95).await;
}

/// How much faster is `pool.get()` and an UPDATE than bb8 without validation?
pub(crate) async fn update(contenders: &Contenders, name: &'static str) {
    let bb8 = contenders.bb8(false).await;
    let outcome = pairs(
        name,
        async || {
            let mut conn = contenders.pool().get().await.unwrap();
            assert_eq!(accounts::update(&mut conn).await, Ok(1));
        },
        async || {
            let mut conn = bb8.get().await.unwrap();
            assert_eq!(accounts::update(&mut conn).await, Ok(1));
        },
    );
    outcome.await.answer(1.8);
}

/// What do the gate and all checks of our pool add to a checkout and return without a statement, compared
/// with bb8 without validation?
pub(crate) async fn alone(contenders: &Contenders, name: &'static str) {
    let bb8 = contenders.bb8(false).await;
    // A single one is too short to be timed.
    let outcome = pairs(
        name,
        async || {
            for _ in 0..100 {
                drop(contenders.pool().get().await.unwrap());
            }
        },
        async || {
            for _ in 0..100 {
                drop(bb8.get().await.unwrap());
            }
        },
    );
    outcome.await.answer(0.5);
}

async fn select(contenders: &Contenders, name: &'static str, validates: bool, target: f64) {
    let bb8 = contenders.bb8(validates).await;
    let outcome = pairs(
        name,
        async || {
            let mut conn = contenders.pool().get().await.unwrap();
            accounts::select(&mut conn).await;
        },
        async || {
            let mut conn = bb8.get().await.unwrap();
            accounts::select(&mut conn).await;
        },
    );
    outcome.await.answer(target);
}
