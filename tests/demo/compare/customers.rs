//! The load of both sides: customers that move money and look at it, each with one request at a time.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::bank::{Bank, Transfer};
use super::tally::Tally;

/// What the customers do besides moving money.
#[derive(Clone, Copy, Default)]
pub(crate) struct Habits {
    /// Now and then a customer asks a question that takes three seconds, and hangs up after a twentieth of
    /// a second.
    pub(crate) hang_up: bool,
}

/// Runs them until `end`, and for a moment longer while answers are due. Returns what they have seen.
pub(crate) async fn serve(bank: &impl Bank, habits: Habits, end: Instant) -> Tally {
    let tally = Tally::default();
    let mut customers = JoinSet::new();
    for _ in 0..CUSTOMERS {
        customers.spawn(come_and_go(bank.clone(), habits, tally.clone(), end));
    }
    let all_gone = async { while customers.join_next().await.is_some() {} };
    // A request without an answer by then gets none: it counts as failed when its task is ended.
    let _ = tokio::time::timeout_at((end + GRACE).into(), all_gone).await;
    customers.shutdown().await;
    tally
}

async fn come_and_go(bank: impl Bank, habits: Habits, tally: Tally, end: Instant) {
    let mut wanted = any_transfer();
    while Instant::now() < end {
        let done = match fastrand::u32(..40) {
            0 if habits.hang_up => {
                let _ = tokio::time::timeout(PATIENCE, bank.question(QUESTION)).await;
                true
            }
            ..20 => look(&bank, &tally).await,
            _ => {
                let request = tally.request();
                let moved = bank.transfer(wanted).await;
                // A customer that is told that nothing was moved tries the same transfer again.
                moved.is_ok_and(|()| {
                    request.moved(std::mem::replace(&mut wanted, any_transfer()).amount);
                    true
                })
            }
        };
        if !done {
            // A pause, so that a pool that fails at once is not asked in a tight loop.
            tokio::time::sleep(AFTER_ERROR).await;
        }
    }
}

/// Looks at an account or at a payment. Both are a pair of numbers, so only their values distinguish them.
async fn look(bank: &impl Bank, tally: &Tally) -> bool {
    let request = tally.request();
    let id = any_account();
    if fastrand::bool() {
        let account = bank.account(id).await;
        account.is_ok_and(|(answered, _)| {
            request.read(answered == id);
            true
        })
    } else {
        let payment = bank.payment(id).await;
        payment.is_ok_and(|payment| {
            request.read(payment.is_none_or(|(_, amount)| amount <= LARGEST));
            true
        })
    }
}

fn any_transfer() -> Transfer {
    let from = any_account();
    let to = (from + fastrand::i64(0..ACCOUNTS - 1)) % ACCOUNTS + 1;
    Transfer {
        from,
        to,
        amount: fastrand::i64(1..=LARGEST),
    }
}

fn any_account() -> i64 {
    fastrand::i64(1..=ACCOUNTS)
}

/// How long each fault lasts for each side.
pub(crate) const LENGTH: Duration = Duration::from_secs(2);
pub(crate) const ACCOUNTS: i64 = 500;
/// More than any payment, so that a balance in place of an amount shows.
pub(crate) const DEPOSIT: i64 = 1_000_000;
const LARGEST: i64 = 100;
const CUSTOMERS: usize = 16;
const QUESTION: f64 = 3.0;
const PATIENCE: Duration = Duration::from_millis(50);
const AFTER_ERROR: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_secs(1);
