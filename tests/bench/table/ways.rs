//! The compared ways to the server.

use std::time::Duration;

use harness::{Bouncer, BouncerBinary, BouncerOptions, Fault, PoolMode, Proxy, TestDatabase};

use crate::{accounts, say};

/// A way to a database with the accounts.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    // Dropped in this order.
    _bouncer: Option<Bouncer>,
    _proxy: Option<Proxy>,
    _db: TestDatabase,
}

impl Way {
    /// Directly, through PgBouncer 1.24 if the machine has it, and through a delay.
    pub(crate) async fn all() -> Vec<Self> {
        let mut ways = vec![Self::direct().await];
        match BouncerBinary::at_least(1, 21) {
            Some(binary) => ways.push(Self::pooled(binary).await),
            None => say("NOTICE: there is no PgBouncer of at least 1.21; it is not measured"),
        }
        ways.push(Self::delayed().await);
        ways
    }

    async fn direct() -> Self {
        let db = accounts::database().await;
        Self {
            name: "direct",
            url: db.url(),
            _bouncer: None,
            _proxy: None,
            _db: db,
        }
    }

    async fn pooled(binary: BouncerBinary) -> Self {
        let db = accounts::database().await;
        // PgBouncer has as many server connections as the pools have connections.
        let options = BouncerOptions::mode(PoolMode::Transaction)
            .binary(binary)
            .pool_size(10)
            .setting("max_prepared_statements", "200")
            // sqlx asks for it in its startup packet.
            .setting("ignore_startup_parameters", "extra_float_digits");
        let bouncer = Bouncer::start(db.server(), options).await.unwrap();
        Self {
            name: "PgBouncer 1.24",
            url: db.pooled_url(&bouncer),
            _bouncer: Some(bouncer),
            _proxy: None,
            _db: db,
        }
    }

    /// Half a millisecond on each way; tokio's timers wait for up to one more.
    async fn delayed() -> Self {
        let db = accounts::database().await;
        let proxy = Proxy::start(db.server().port()).await.unwrap();
        proxy.set(Fault::Delay(Duration::from_micros(500))).await;
        Self {
            name: "delay of 1 ms",
            url: db.proxied_url(&proxy),
            _bouncer: None,
            _proxy: Some(proxy),
            _db: db,
        }
    }
}
