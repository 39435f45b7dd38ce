//! Pools and processes that have just started.

use std::time::Instant;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use tokio::task::JoinSet;

use crate::peer::{self, CONNECTIONS, SELECT};
use crate::rounds::{Figure, figures};
use crate::ways::Way;
use crate::{accounts, bb8_pool};

/// How long the last of 200 tasks waits for a cold pool of ten.
pub(crate) async fn compare(way: &Way) -> Vec<Figure> {
    let mut measured = [
        ("diesel-async, bb8", Vec::new()),
        ("db.get", Vec::new()),
        ("deadpool-postgres", Vec::new()),
        ("sqlx", Vec::new()),
    ];
    for _ in 0..ROUNDS {
        let url = &way.url;
        let bb8 = bb8::Pool::builder()
            .max_size(CONNECTIONS)
            .test_on_check_out(false)
            .build_unchecked(bb8_pool::Manager(url.clone()));
        let by_bb8 = last_served(move || {
            let bb8 = bb8.clone();
            async move {
                accounts::select(&mut bb8.get().await.unwrap()).await;
            }
        });
        measured[0].1.push(by_bb8.await);
        let ours = peer::lazy(url);
        let by_ours = last_served(move || {
            let ours = ours.clone();
            async move {
                accounts::select(&mut ours.get().await.unwrap()).await;
            }
        });
        measured[1].1.push(by_ours.await);
        let deadpool = peer::deadpool(url);
        let by_deadpool = last_served(move || {
            let deadpool = deadpool.clone();
            async move {
                let client = deadpool.get().await.unwrap();
                let select = client.prepare_cached(SELECT).await.unwrap();
                client.query_one(&select, &[&1_i32]).await.unwrap();
            }
        });
        measured[2].1.push(by_deadpool.await);
        let sqlx = peer::sqlx_lazy(url);
        let by_sqlx = last_served(move || {
            let sqlx = sqlx.clone();
            async move {
                let query = sqlx::query(SELECT).bind(1_i32);
                query.fetch_one(&sqlx).await.unwrap();
            }
        });
        measured[3].1.push(by_sqlx.await);
    }
    figures(measured.into(), |time, base| base / time)
}

/// How long a process takes from its start to the first row, including the making of its pool.
pub(crate) async fn first_row(way: &Way) -> Vec<Figure> {
    let mut measured = [
        ("diesel-async", Vec::new()),
        ("db.get", Vec::new()),
        ("deadpool-postgres", Vec::new()),
        ("sqlx", Vec::new()),
    ];
    for _ in 0..FIRST_ROWS {
        let began = Instant::now();
        let mut plain = AsyncPgConnection::establish(&way.url).await.unwrap();
        accounts::select(&mut plain).await;
        measured[0].1.push(millis(began));
        let began = Instant::now();
        let ours = peer::lazy(&way.url);
        accounts::select(&mut ours.get().await.unwrap()).await;
        measured[1].1.push(millis(began));
        let began = Instant::now();
        let client = peer::deadpool(&way.url).get().await.unwrap();
        let select = client.prepare_cached(SELECT).await.unwrap();
        client.query_one(&select, &[&1_i32]).await.unwrap();
        measured[2].1.push(millis(began));
        let began = Instant::now();
        let sqlx = peer::sqlx_lazy(&way.url);
        sqlx::query(SELECT)
            .bind(1_i32)
            .fetch_one(&sqlx)
            .await
            .unwrap();
        measured[3].1.push(millis(began));
    }
    figures(measured.into(), |time, base| base / time)
}

async fn last_served<F>(work: impl Fn() -> F) -> f64
where
    F: Future<Output = ()> + Send + 'static,
{
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        tasks.spawn(work());
    }
    tasks.join_all().await;
    millis(began)
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1000.0
}

const TASKS: usize = 200;
const ROUNDS: usize = 7;
const FIRST_ROWS: usize = 21;
