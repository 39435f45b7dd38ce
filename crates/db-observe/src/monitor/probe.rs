//! A probe: asks two questions on a session beside the pool.

use std::time::{Duration, Instant, SystemTime};

use app_db::db_pool::plumbing::{self, SessionBeside};
use app_db::{Pool, PoolError};
use diesel::QueryableByName;
use diesel::sql_types::{Double, Nullable};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use tokio::time::timeout;

use crate::monitor::sample::{Figures, Sample, SampleFailure};

/// Looks at a pool; `None` if it is closed.
pub(crate) async fn probe(pool: &Pool) -> Option<Sample> {
    let at = SystemTime::now();
    let patience = pool.profile().connect_timeout * 2;
    let outcome = match timeout(patience, answers(pool)).await {
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
        }),
    })
}

struct Answers {
    connect_time: Duration,
    response_time: Duration,
    replica_lag: Option<Duration>,
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
