//! What happens to a service at night, by the dice.

use std::time::{Duration, Instant};

use app_db::{Credentials, Database};
use harness::{Fault, Stop, wait_until};

use super::{LARGEST, Place};
use crate::SOON;

pub(super) struct Chaos<'t> {
    dice: fastrand::Rng,
    place: &'t Place,
    database: &'t Database,
    /// Set on the server and not in the pools yet.
    password: Option<String>,
}

impl<'t> Chaos<'t> {
    pub(super) fn new(seed: u64, place: &'t Place, database: &'t Database) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            place,
            database,
            password: None,
        }
    }

    pub(super) async fn reign(&mut self, until: Instant) {
        while Instant::now() < until {
            self.strike().await;
            // Between two faults the service may work, for as long as it happens.
            self.pause(20..400).await;
            self.rotate().await;
        }
    }

    /// Ends every fault and waits until the pool has the password of the server.
    pub(super) async fn end(&mut self) {
        self.place.proxy.set(Fault::None).await;
        // When PgBouncer's own login fails, it refuses every login for a second (server_login_retry).
        wait_until("the password is rotated", SOON * 3, async || {
            self.rotate().await;
            self.password.is_none()
        })
        .await;
        let pool = self.database.pool("write").unwrap();
        pool.resize(6).unwrap();
    }

    async fn strike(&mut self) {
        let pool = self.database.pool("write").unwrap();
        match self.dice.u8(..15) {
            0 | 1 => self.signal_some("pg_terminate_backend").await,
            2 | 3 => self.signal_some("pg_cancel_backend").await,
            4 => self.place.proxy.cut(),
            5 => self.place.proxy.reset(),
            6 => self.fault(Fault::Refuse).await,
            7 => self.fault(Fault::HoldReplies).await,
            8 => self.fault(Fault::Stall).await,
            9 => self.fault(Fault::Delay(Duration::from_millis(3))).await,
            10 => self.fault(Fault::LoseReply(b"COMMIT")).await,
            11 => self.place.cluster.restart(Stop::Immediate).await.unwrap(),
            12 => pool.resize(self.dice.u32(1..=LARGEST)).unwrap(),
            13 => {
                if let Some(bouncer) = &self.place.bouncer {
                    bouncer.stop().await.unwrap();
                    bouncer.start_again().await.unwrap();
                }
            }
            _ => {
                let password = format!("secret{}", self.dice.u64(..));
                self.place.db.set_password(&password).await.unwrap();
                self.password = Some(password);
            }
        }
    }

    async fn fault(&mut self, fault: Fault) {
        self.place.proxy.set(fault).await;
        self.pause(50..700).await;
        self.place.proxy.set(Fault::None).await;
    }

    /// About every other session.
    async fn signal_some(&mut self, function: &str) {
        let signal = format!(
            "select {function}(pid) from pg_stat_activity \
             where application_name = 'app-db' and pid % 2 = {}",
            self.dice.u8(..2)
        );
        self.place.db.sql(&signal).await.unwrap();
    }

    #[expect(
        clippy::print_stdout,
        reason = "a failed soak shows why the pools did not take the password"
    )]
    async fn rotate(&mut self) {
        if let Some(password) = &self.password {
            let credentials = Credentials::new(self.place.db.role().name(), password.as_str());
            match self.database.rotate(credentials).await {
                Ok(_) => self.password = None,
                Err(error) => println!("not rotated: {error:?}"),
            }
        }
    }

    async fn pause(&mut self, ms: std::ops::Range<u64>) {
        tokio::time::sleep(Duration::from_millis(self.dice.u64(ms))).await;
    }
}
