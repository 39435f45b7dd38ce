//! One statement on one connection: the same code on our connection and on a plain one.

use crate::accounts;
use crate::contenders::Contenders;
use crate::pairs::pairs;

/// How much faster is an autocommit `diesel::update`, which diesel itself never keeps prepared?
pub(crate) async fn update(contenders: &Contenders, name: &'static str) {
    let mut ours = contenders.pool().get().await.unwrap();
    let mut plain = contenders.plain().await;
    let outcome = pairs(
        name,
        async || assert_eq!(accounts::update(&mut ours).await, Ok(1)),
        async || assert_eq!(accounts::update(&mut plain).await, Ok(1)),
    );
    outcome.await.answer(1.8);
}

/// What does the wire cost a SELECT by key, which diesel keeps prepared itself?
pub(crate) async fn select(contenders: &Contenders, name: &'static str) {
    let mut ours = contenders.pool().get().await.unwrap();
    let mut plain = contenders.plain().await;
    let outcome = pairs(
        name,
        async || assert!(accounts::select(&mut ours).await >= 0),
        async || assert!(accounts::select(&mut plain).await >= 0),
    );
    outcome.await.answer(0.95);
}
