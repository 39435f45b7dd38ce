//! Many functions at once, each a process with one connection.

use std::time::Duration;

use app_db::{Environment, Pool, PoolError, PoolProfile};
use diesel_async::SimpleAsyncConnection;
use futures_util::future::join_all;
use harness::{Bouncer, BouncerOptions, Cluster, ClusterOptions, TestDatabase};

use crate::pool::url;

const FUNCTIONS: usize = 100;

/// req 1.02, req 1.10: by themselves they take more connections than the server has; through a pooler all of
/// them are served.
#[tokio::test]
async fn a_hundred_functions_are_served_through_a_pooler() {
    let cluster = Cluster::start(ClusterOptions::default().max_connections(20))
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let refused = called_at_once(&db.url()).await;
    assert!(
        refused.iter().any(|code| code.as_deref() == Some("53300")),
        "{refused:?}"
    );

    let options = BouncerOptions::default().pool_size(10);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let refused = called_at_once(&db.pooled_url(&bouncer)).await;
    assert!(refused.is_empty(), "{refused:?}");
}

/// Calls every function once while all of them keep their connection, and returns why some were refused one.
async fn called_at_once(address: &str) -> Vec<Option<String>> {
    let functions: Vec<_> = (0..FUNCTIONS)
        .map(|_| {
            let mut profile = PoolProfile::of(&Environment::Lambda);
            profile.checkout_timeout = Duration::from_secs(3);
            Pool::connect_lazy(url(address), profile)
        })
        .collect();
    let calls = functions.iter().map(async |function| {
        let mut conn = function.get().await?;
        conn.batch_execute("select 1").await.unwrap();
        Ok::<_, PoolError>(conn)
    });
    let outcomes = join_all(calls).await;
    let failed = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    failed
        .map(|error| error.sqlstate().map(|code| code.code().to_owned()))
        .collect()
}
