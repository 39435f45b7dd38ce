//! The session that runs the statements: plain diesel-async, or one of our connections.

use std::time::Duration;

use app_db::{Connection, Pool, PoolProfile, PooledUrl};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio::time::{Instant, sleep, timeout};

use crate::answer::{Answer, Failure};
use crate::corpus::returns_rows;
use crate::failed::Failed;
use crate::form::Form;
use crate::snapshot::{SNAPSHOT, Snapshot};
use crate::tap::Tap;

/// A session of either kind.
pub(crate) enum Session {
    Stock(Box<Stock>),
    Ours(Box<Ours>),
}

/// A plain diesel-async connection.
pub(crate) struct Stock {
    url: String,
    tap: Tap,
    conn: AsyncPgConnection,
}

/// A borrowed connection of a pool of one.
pub(crate) struct Ours {
    pool: Pool,
    /// It is given back before the next one is checked out.
    conn: Option<Connection>,
}

impl Session {
    /// A plain session with the settings of a profile.
    pub(crate) async fn stock(
        server: u16,
        url: impl FnOnce(u16) -> String,
        profile: &PoolProfile,
    ) -> Result<Self, Failed> {
        let tap = Tap::start(server).await?;
        let url = with_settings(&url(tap.port()), profile);
        let conn = AsyncPgConnection::establish(&url).await?;
        Ok(Self::Stock(Box::new(Stock { url, tap, conn })))
    }

    /// The first borrower of a pool.
    pub(crate) async fn ours(url: &str, profile: PoolProfile) -> Result<Self, Failed> {
        let pool = Pool::connect(PooledUrl::parse(url)?, profile).await?;
        let conn = pool.get().await?;
        Ok(Self::Ours(Box::new(Ours {
            pool,
            conn: Some(conn),
        })))
    }

    fn connection(&mut self) -> Result<&mut AsyncPgConnection, Failed> {
        match self {
            Self::Stock(stock) => Ok(&mut stock.conn),
            Self::Ours(ours) => match &mut ours.conn {
                Some(conn) => Ok(conn),
                None => Err(Failed::new("the pool has given no other connection")),
            },
        }
    }

    fn errors(&self) -> u64 {
        match self {
            Self::Stock(stock) => stock.tap.seen().errors,
            Self::Ours(ours) => ours
                .conn
                .as_ref()
                .map_or(0, |conn| app_db::db_pool::plumbing::observed(conn).errors()),
        }
    }

    /// The SQLSTATE of the last error, if there has been one since.
    fn sqlstate_since(&self, errors: u64) -> Option<String> {
        match self {
            Self::Stock(stock) => {
                let seen = stock.tap.seen();
                seen.last.filter(|_| seen.errors > errors)
            }
            Self::Ours(ours) => {
                let observed = app_db::db_pool::plumbing::observed(ours.conn.as_ref()?);
                let error = observed.last_error().filter(|_| observed.errors() > errors);
                error.map(|error| error.sqlstate().code().to_owned())
            }
        }
    }

    /// Runs one statement. A connection that ends with it is replaced.
    pub(crate) async fn ask(&mut self, form: Form, sql: &str) -> Result<Answer, Failed> {
        let errors = self.errors();
        let has_rows = returns_rows(sql);
        let running = form.run(self.connection()?, sql, has_rows);
        let answer = match timeout(PATIENCE, running).await {
            Err(_) => Answer::Silent,
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Failed(Failure::of(&error, self.sqlstate_since(errors))),
        };
        let ends = answer.failure().is_some_and(Failure::ends_the_connection);
        if ends || answer == Answer::Silent {
            self.replace_soon().await?;
        }
        Ok(answer)
    }

    /// A server that has crashed needs a moment.
    async fn replace_soon(&mut self) -> Result<(), Failed> {
        let began = Instant::now();
        loop {
            match self.replace().await {
                Err(_) if began.elapsed() < PATIENCE => sleep(Duration::from_millis(50)).await,
                replaced => return replaced.map_err(|failed| failed.during("connecting again")),
            }
        }
    }

    /// Continues with another connection; with a pool, as the next holder.
    pub(crate) async fn replace(&mut self) -> Result<(), Failed> {
        match self {
            Self::Stock(stock) => stock.conn = AsyncPgConnection::establish(&stock.url).await?,
            Self::Ours(ours) => {
                drop(ours.conn.take());
                ours.conn = Some(ours.pool.get_timeout(PATIENCE).await?);
            }
        }
        Ok(())
    }

    /// Ends the script's own transaction, and reads the state of the session.
    pub(crate) async fn snapshot(&mut self) -> Result<Snapshot, Failed> {
        // It fails only if the connection has failed, which the query then shows.
        let _ = self.connection()?.batch_execute("ROLLBACK").await;
        match self.ask(Form::Extended, SNAPSHOT).await? {
            Answer::Rows(rows) => Ok(Snapshot::of(&rows)),
            other => Ok(Snapshot::none(other.shown())),
        }
    }

    /// Leaves nothing behind.
    pub(crate) async fn close(self) {
        if let Self::Ours(ours) = self {
            drop(ours.conn);
            let _ = ours.pool.close(PATIENCE).await;
        }
    }
}

/// The settings of the pool's profile, for the startup packet of a plain connection.
fn with_settings(url: &str, profile: &PoolProfile) -> String {
    let millis = |duration: Option<Duration>| duration.map(|duration| duration.as_millis());
    let timeouts = [
        ("statement_timeout", millis(profile.statement_timeout)),
        ("lock_timeout", millis(profile.lock_timeout)),
        (
            "idle_in_transaction_session_timeout",
            millis(profile.idle_in_transaction_session_timeout),
        ),
    ];
    let isolation = profile.default_transaction_isolation.replace(' ', "%5C%20");
    let mut options = format!("-c%20default_transaction_isolation%3D{isolation}");
    for (name, value) in timeouts {
        if let Some(value) = value {
            options.push_str(&format!("%20-c%20{name}%3D{value}"));
        }
    }
    let name = &profile.application_name;
    format!("{url}?application_name={name}&options={options}")
}

const PATIENCE: Duration = Duration::from_secs(30);
