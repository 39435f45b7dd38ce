//! What it costs to watch statements.

use app_db::{Environment, Pool, PoolProfile, PooledUrl};

use crate::accounts;
use crate::contenders::Contenders;
use crate::pairs::pairs;

/// How much of the throughput of a SELECT by key is left with statistics and the slow-query log?
pub(crate) async fn select(contenders: &Contenders, name: &'static str) {
    let (watching, blind) = (pool(contenders, true).await, pool(contenders, false).await);
    let mut watching = watching.get().await.unwrap();
    let mut blind = blind.get().await.unwrap();
    let outcome = pairs(
        name,
        async || assert!(accounts::select(&mut watching).await >= 0),
        async || assert!(accounts::select(&mut blind).await >= 0),
    );
    outcome.await.answer(0.95);
}

async fn pool(contenders: &Contenders, watches: bool) -> Pool {
    let mut profile = PoolProfile::of(&Environment::Test);
    (profile.max, profile.min_idle) = (1, 0);
    profile.statement_statistics = watches;
    if !watches {
        profile.slow_query = None;
    }
    let url = PooledUrl::parse(&contenders.url()).unwrap();
    Pool::connect(url, profile).await.unwrap()
}
