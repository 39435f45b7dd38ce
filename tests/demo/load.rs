//! Clients that move money and look at balances, each one request at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::error::DemoError;
use crate::ledger::Client;

/// What the clients have counted so far.
#[derive(Default)]
pub(crate) struct Counts {
    transfers: AtomicU64,
    reads: AtomicU64,
    errors: AtomicU64,
    /// The first of the errors, for people to read.
    first_errors: Mutex<Vec<String>>,
}

/// A load that is running; its clients end with it.
pub(crate) struct Load {
    clients: JoinSet<Histogram<u64>>,
}

/// One client: a closed loop of requests until the time is over.
struct Clerk {
    client: Client,
    accounts: Arc<[i64]>,
    counts: Arc<Counts>,
    end: Instant,
}

/// Opens the accounts and gives each its money from the cash desk, with transfers that count like all
/// others.
pub(crate) async fn open_accounts(
    client: &Client,
    counts: &Counts,
) -> Result<Arc<[i64]>, DemoError> {
    let opened =
        stream::iter(1..=ACCOUNTS).map(async |n| client.open(&format!("account {n}")).await);
    let accounts: Vec<i64> = opened.buffer_unordered(16).try_collect().await?;
    // All of these change the cash desk's balance; in parallel they would only conflict.
    for &account in &accounts {
        client.transfer(CASH_DESK, account, DEPOSIT).await?;
        counts.transfers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(accounts.into())
}

impl Load {
    /// Starts the clients; they stop asking at `end`.
    pub(crate) fn start(
        client: &Client,
        accounts: &Arc<[i64]>,
        counts: &Arc<Counts>,
        (tasks, end): (u32, Instant),
    ) -> Self {
        let mut clients = JoinSet::new();
        for _ in 0..tasks {
            let clerk = Clerk {
                client: client.clone(),
                accounts: Arc::clone(accounts),
                counts: Arc::clone(counts),
                end,
            };
            clients.spawn(clerk.run());
        }
        Self { clients }
    }

    /// Waits for the last answers and returns how long each acknowledged transfer took, in microseconds.
    pub(crate) async fn finish(mut self) -> Result<Histogram<u64>, DemoError> {
        let mut all = latencies();
        while let Some(one) = self.clients.join_next().await {
            all += one?;
        }
        Ok(all)
    }
}

impl Clerk {
    async fn run(self) -> Histogram<u64> {
        let mut latencies = latencies();
        while Instant::now() < self.end {
            let asked = Instant::now();
            let answer = if fastrand::u32(..READ_EVERY) == 0 {
                let balance = self.client.balance(self.any_account()).await;
                balance.map(|_| self.counts.reads.fetch_add(1, Ordering::Relaxed))
            } else {
                let transfer = self.transfer().await;
                transfer.map(|()| {
                    latencies.saturating_record(
                        asked.elapsed().as_micros().try_into().unwrap_or(u64::MAX),
                    );
                    self.counts.transfers.fetch_add(1, Ordering::Relaxed)
                })
            };
            if let Err(error) = answer {
                self.counts.failed(&error);
                // A service that is gone refuses at once, so a client pauses between its requests.
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
        latencies
    }

    /// A transfer between two different accounts. No account can run out of money in the longest run.
    async fn transfer(&self) -> Result<(), DemoError> {
        let from = fastrand::usize(..self.accounts.len());
        let to = (from + fastrand::usize(1..self.accounts.len())) % self.accounts.len();
        self.client
            .transfer(
                self.accounts[from],
                self.accounts[to],
                fastrand::i64(1..=100),
            )
            .await
    }

    fn any_account(&self) -> i64 {
        self.accounts[fastrand::usize(..self.accounts.len())]
    }
}

impl Counts {
    pub(crate) fn transfers(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed)
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    pub(crate) fn first_errors(&self) -> Vec<String> {
        self.first_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn failed(&self, error: &DemoError) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut first = self
            .first_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if first.len() < ERRORS_SHOWN {
            first.push(error.to_string());
        }
    }
}

/// A histogram for microseconds up to a minute, which is longer than a request may take.
#[expect(clippy::expect_used, reason = "the bounds are constants")]
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3)
        .expect("the bounds are 1 and more, with three digits")
}

/// So many that two transfers rarely meet, and that the server uses the index.
const ACCOUNTS: usize = 500;
const DEPOSIT: i64 = 1_000_000;
/// The account that stands for the world outside and may owe.
const CASH_DESK: i64 = 0;
/// One request in this many looks at a balance.
const READ_EVERY: u32 = 4;
const AFTER_ERROR: Duration = Duration::from_millis(50);
const ERRORS_SHOWN: usize = 5;
