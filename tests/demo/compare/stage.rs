//! One side's database, and the proxy before it.

use harness::{
    Bouncer, BouncerBinary, BouncerOptions, Cluster, PoolMode, Proxy, TestDatabase, wait_until,
};

use super::customers::{ACCOUNTS, DEPOSIT};
use crate::error::{DemoError, Doing};
use crate::login::random_word;

pub(crate) struct Stage {
    db: TestDatabase,
    /// Between the service and the server. It can lose answers.
    proxy: Proxy,
}

/// What the database says, independently of the answers that customers got.
#[derive(Clone, Copy)]
pub(crate) struct Books {
    /// The sum of all transfers.
    pub(crate) moved: i64,
    /// By how much balances differ from their entries.
    pub(crate) wrong: i64,
}

impl Stage {
    pub(crate) async fn new(cluster: &Cluster) -> Result<Self, DemoError> {
        let db = TestDatabase::create_on(cluster).await?;
        db.sql(&format!(
            "INSERT INTO accounts (id, name, balance) SELECT n, 'account ' || n, {DEPOSIT} FROM generate_series(1, {ACCOUNTS}) n"
        ))
        .await?;
        let proxy = Proxy::start(cluster.port()).await?;
        Ok(Self { db, proxy })
    }

    /// Straight to the server.
    pub(crate) fn url(&self) -> String {
        self.db.url()
    }

    /// Through the proxy.
    pub(crate) fn proxied_url(&self) -> String {
        self.db.proxied_url(&self.proxy)
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// A PgBouncer in transaction mode before the server, with its defaults and a quarter of the connections of both
    /// instances.
    pub(crate) async fn bouncer(
        &self,
        binary: Option<&BouncerBinary>,
    ) -> Result<(Bouncer, String), DemoError> {
        let options = BouncerOptions::mode(PoolMode::Transaction).pool_size(5);
        let options = match binary {
            Some(binary) => options.binary(binary.clone()),
            None => options,
        };
        let bouncer = Bouncer::start(self.db.server(), options).await?;
        let url = self.db.pooled_url(&bouncer);
        Ok((bouncer, url))
    }

    pub(crate) fn user(&self) -> &str {
        self.db.role().name()
    }

    pub(crate) fn password(&self) -> String {
        self.db.password()
    }

    /// Changes the password, and returns when, by the server's clock.
    pub(crate) async fn change_password(&self) -> Result<String, DemoError> {
        let password = random_word().doing(|| "making a password".to_owned())?;
        self.db.set_password(&password).await?;
        Ok(self.db.scalar("SELECT clock_timestamp()::text").await?)
    }

    pub(crate) async fn end_sessions_before(&self, changed: &str) -> Result<(), DemoError> {
        let end = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE usename = '{}' AND backend_start < '{changed}'",
            self.user()
        );
        let _ended: i64 = self.db.scalar(&end).await?;
        Ok(())
    }

    pub(crate) async fn books(&self) -> Result<Books, DemoError> {
        Ok(Books {
            moved: self
                .db
                .scalar("SELECT coalesce(sum(amount), 0)::bigint FROM transfers")
                .await?,
            wrong: self.db.scalar(&wrong_balances()).await?,
        })
    }

    /// The books, once no statement of the side runs any more.
    pub(crate) async fn books_at_rest(&self) -> Result<Books, DemoError> {
        let running = format!(
            "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE usename = '{}' AND state <> 'idle'",
            self.user()
        );
        wait_until("the side is at rest", PATIENCE, async || {
            matches!(self.db.scalar::<i64>(&running).await, Ok(0))
        })
        .await;
        self.books().await
    }
}

impl Books {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            moved: self.moved - before.moved,
            wrong: self.wrong - before.wrong,
        }
    }
}

fn wrong_balances() -> String {
    format!(
        "SELECT coalesce(sum(abs(balance - {DEPOSIT} - coalesce(booked, 0))), 0)::bigint FROM accounts \
         LEFT JOIN (SELECT account, sum(delta) AS booked FROM entries GROUP BY account) AS entries ON account = id \
         WHERE id <> 0"
    )
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
