//! A probe: asks two questions on a session beside the pool.

use std::time::{Duration, Instant, SystemTime};

use app_db::db_config::Host;
use app_db::db_pool::Pooler;
use app_db::db_pool::plumbing::{self, SessionBeside};
use app_db::{Pool, PoolError};
use diesel::QueryableByName;
use diesel::sql_types::{Double, Nullable};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::timeout;

use crate::monitor::pooler_figures::PoolerFigures;
use crate::monitor::ports::Ports;
use crate::monitor::sample::{Figures, Sample, SampleFailure};
use crate::monitor::server_figures::ServerFigures;

/// Looks at a pool, and at the pooler before its server if the caller wants that. `None` if the pool is closed.
pub(crate) async fn probe(pool: &Pool, asks_pooler: bool) -> Option<Sample> {
    let at = SystemTime::now();
    let patience = pool.profile().connect_timeout * 2;
    let looked_at = tokio::join!(
        timeout(patience, answers(pool)),
        ports(pool),
        pooler(pool, asks_pooler)
    );
    let (outcome, ports, pooler) = looked_at;
    let outcome = match outcome {
        Ok(Err(Failure::Pool(PoolError::Closed { .. }))) => return None,
        Ok(Ok(answers)) => Ok(answers),
        Ok(Err(failure)) => Err(failure.into()),
        Err(_elapsed) => Err(SampleFailure {
            error: format!("the server does not answer within {patience:?}"),
            is_connection_error: true,
        }),
    };
    let status = pool.status();
    Some(Sample {
        pool: pool.name().into(),
        at,
        ports,
        pooler,
        outcome: outcome.map(|answers| Figures {
            total: status.open,
            active: status.in_use,
            idle: status.idle,
            waiting: status.waiting,
            response_time: answers.response_time,
            connect_time: answers.connect_time,
            replica_lag: answers.replica_lag,
            wait_count: status.checkouts.queued,
            wait_duration: status.checkouts.queued_for,
            server: answers.server,
        }),
    })
}

/// The ports that lead to the server. A thread of its own reads them, because that takes long if there are many.
async fn ports(pool: &Pool) -> Option<Ports> {
    let hosts = plumbing::endpoint(pool).hosts;
    let ports = hosts.iter().filter_map(|host| match host {
        Host::Tcp { port, .. } => Some(*port),
        Host::Unix { .. } => None,
    });
    let servers: Vec<_> = ports.collect();
    if servers.is_empty() {
        return None;
    }
    let counting = tokio::task::spawn_blocking(move || Ports::to(&servers));
    counting.await.ok().flatten()
}

/// What the pooler says, if the pool has found one that could be PgBouncer. It is asked at the same time as the
/// server: if the server answers nobody, the pooler still knows who waits.
async fn pooler(pool: &Pool, is_wanted: bool) -> Option<Result<PoolerFigures, String>> {
    match pool.status().pooler {
        Pooler::Shared { .. } | Pooler::Session if is_wanted => {
            let patience = pool.profile().connect_timeout;
            Some(PoolerFigures::ask(&plumbing::endpoint(pool), patience).await)
        }
        _ => None,
    }
}

struct Answers {
    connect_time: Duration,
    response_time: Duration,
    replica_lag: Option<Duration>,
    server: Option<ServerFigures>,
}

enum Failure {
    Pool(PoolError),
    Query(diesel::result::Error),
}

impl From<Failure> for SampleFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Pool(error) => Self {
                error: chain(&error),
                is_connection_error: error.connect_error().is_some(),
            },
            Failure::Query(error) => Self {
                is_connection_error: matches!(
                    error,
                    diesel::result::Error::DatabaseError(
                        diesel::result::DatabaseErrorKind::ClosedConnection,
                        _
                    )
                ),
                error: error.to_string(),
            },
        }
    }
}

async fn answers(pool: &Pool) -> Result<Answers, Failure> {
    let mut session = plumbing::session_beside(pool)
        .await
        .map_err(Failure::Pool)?;
    let began = Instant::now();
    let asked = session.conn().batch_execute("SELECT 1").await;
    asked.map_err(Failure::Query)?;
    Ok(Answers {
        response_time: began.elapsed(),
        connect_time: session.phases().total(),
        replica_lag: replica_lag(&mut session).await.map_err(Failure::Query)?,
        server: ServerFigures::ask(session.conn()).await,
    })
}

#[derive(QueryableByName)]
struct Lag {
    #[diesel(sql_type = Nullable<Double>)]
    seconds: Option<f64>,
}

async fn replica_lag(
    session: &mut SessionBeside,
) -> Result<Option<Duration>, diesel::result::Error> {
    let lag: Lag = diesel::sql_query(LAG).get_result(session.conn()).await?;
    Ok(lag
        .seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok()))
}

/// An error with its causes, in which no text appears twice.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// NULL for a primary. Zero if everything that has arrived is replayed, because a quiet primary sends
/// nothing.
const LAG: &str = "\
SELECT CASE
    WHEN NOT pg_is_in_recovery() THEN NULL
    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
END::float8 AS seconds";
