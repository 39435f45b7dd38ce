//! How many sessions a server has, counted all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::HarnessError;
use crate::beside::beside;
use crate::server::Server;

/// The sessions in one database according to the server, now and since the census began.
///
/// It counts every few milliseconds, through a session in the database `postgres`, until it is dropped.
/// While the server is down, frozen or full it silently keeps trying.
#[derive(Debug)]
pub struct Census {
    server: Server,
    database: String,
    peaks: Arc<Mutex<Peaks>>,
    counting: JoinHandle<()>,
}

/// The most sessions that were seen at a time, for each `application_name`.
type Peaks = BTreeMap<String, usize>;

/// A session in a test's database, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backend {
    /// Its process id.
    pub pid: i32,
    /// The role it logged in as.
    pub user: String,
    /// `active`, `idle`, `idle in transaction`, ..
    pub state: String,
    /// Its current or last statement.
    pub query: String,
}

impl Census {
    pub(crate) fn begin(server: &Server, database: &str) -> Self {
        let peaks = Arc::default();
        Self {
            server: server.clone(),
            database: database.to_owned(),
            counting: beside(count(
                server.clone(),
                database.to_owned(),
                Arc::clone(&peaks),
            )),
            peaks,
        }
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The most sessions with an `application_name` that were there when the census looked.
    pub fn peak(&self, application_name: &str) -> usize {
        peak(&self.peaks, application_name)
    }

    /// The sessions with an `application_name`, oldest first.
    pub async fn backends(&self, application_name: &str) -> Result<Vec<Backend>, HarnessError> {
        backends(&self.server, &self.database, application_name).await
    }

    /// The advisory locks that sessions with an `application_name` hold or wait for.
    pub async fn advisory_locks(&self, application_name: &str) -> Result<i64, HarnessError> {
        let query = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
            WHERE datname = $1 AND application_name = $2 AND locktype = 'advisory'";
        let admin = self.server.admin().await?;
        let row = admin
            .query_one(query, &[&self.database, &application_name])
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Whether the server answers.
    pub async fn is_up(&self) -> bool {
        let one = self.server.scalar::<i32>("SELECT 1");
        matches!(tokio::time::timeout(PATIENCE, one).await, Ok(Ok(1)))
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.counting.abort();
    }
}

pub(crate) async fn backends(
    server: &Server,
    database: &str,
    application_name: &str,
) -> Result<Vec<Backend>, HarnessError> {
    let query = "SELECT pid, usename::text, coalesce(state, ''), query FROM pg_stat_activity \
        WHERE datname = $1 AND application_name = $2 ORDER BY backend_start";
    let admin = server.admin().await?;
    let rows = admin.query(query, &[&database, &application_name]).await?;
    Ok(rows
        .iter()
        .map(|row| Backend {
            pid: row.get(0),
            user: row.get(1),
            state: row.get(2),
            query: row.get(3),
        })
        .collect())
}

async fn count(server: Server, database: String, peaks: Arc<Mutex<Peaks>>) {
    loop {
        // An error means that a test has stopped the server. The loop goes on until the server is back.
        let _down = count_until_down(&server, &database, &peaks).await;
        tokio::time::sleep(INTERVAL * 4).await;
    }
}

async fn count_until_down(
    server: &Server,
    database: &str,
    peaks: &Mutex<Peaks>,
) -> Result<(), HarnessError> {
    let admin = server.admin().await?;
    // This costs a third of `pg_stat_activity`, which looks up names.
    let query = "SELECT application_name, pid FROM pg_stat_get_activity(NULL) \
        WHERE datid = (SELECT oid FROM pg_database WHERE datname = $1)";
    let query = admin.prepare(query).await?;
    let look = async || -> Result<Sessions, HarnessError> {
        let mut sessions = Sessions::new();
        for row in admin.query(&query, &[&database]).await? {
            let named = sessions.entry(row.try_get(0)?).or_default();
            named.insert(row.try_get(1)?);
        }
        Ok(sessions)
    };
    loop {
        let seen = look().await?;
        if seen
            .iter()
            .any(|(name, pids)| pids.len() > peak(peaks, name))
        {
            let still_there = look().await?;
            for (name, pids) in &seen {
                let pids = still_there
                    .get(name)
                    .map_or(0, |now| pids.intersection(now).count());
                let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
                let peak = peaks.entry(name.clone()).or_default();
                *peak = pids.max(*peak);
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The process ids of sessions, by their `application_name`.
///
/// The server reads them one after the other, so a session that has ended and its successor may both be in
/// one result. Sessions that are in two successive results existed at the same time, between the two
/// looks.
type Sessions = BTreeMap<String, BTreeSet<i32>>;

fn peak(peaks: &Mutex<Peaks>, application_name: &str) -> usize {
    let peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
    peaks.get(application_name).copied().unwrap_or_default()
}

const INTERVAL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(1);
