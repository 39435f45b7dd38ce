//! The retries that the transactions of one pool can afford together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use db_pool::SqlState;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// A share of attempts, in percent: `"20%"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent(pub(crate) u32);

/// The tokens with which the transactions of one pool pay for their retries.
///
/// Every transaction pays in a share of a token when it begins, and every retry takes out a whole token.
/// Every COMMIT pays in for the rivals that may have lost to it, so that healthy contention, in which some
/// transaction always commits, can go on. When nothing commits, only the shares remain: by default at most
/// one transaction in five is retried. So retries cannot multiply the load on a database in trouble.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    share: Percent,
    account: Mutex<Account>,
    /// How many retries there were, by the SQLSTATE of the conflict.
    retries: Mutex<Vec<(SqlState, u64)>>,
}

/// Both amounts are in hundredths of a token.
#[derive(Debug)]
struct Account {
    balance: u32,
    /// The tokens that were lent at the start and are not paid back yet.
    lent: u32,
}

impl RetryBudget {
    /// A budget. With a share of zero, it lends nothing at the start either.
    pub(crate) fn new(share: Percent) -> Self {
        let lent = if share.0 == 0 { 0 } else { RESERVE };
        Self {
            share,
            account: Mutex::new(Account {
                balance: lent,
                lent,
            }),
            retries: Mutex::default(),
        }
    }

    /// Notes that a transaction begins.
    pub(crate) fn pay_in(&self) {
        let mut account = self.account();
        let paid_back = self.share.0.min(account.lent);
        account.lent -= paid_back;
        account.add(self.share.0 - paid_back);
    }

    /// Takes the token of a retry. `false` if there is none left.
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        let mut account = self.account();
        let rest = account.balance.checked_sub(TOKEN);
        account.balance = rest.unwrap_or(account.balance);
        rest.is_some()
    }

    /// Counts a retry after this conflict. There are few kinds of conflicts, so a list is enough.
    pub(crate) fn retried(&self, sqlstate: &SqlState) {
        let mut retries = self.lock_retries();
        match retries.iter_mut().find(|(known, _)| known == sqlstate) {
            Some((_, count)) => *count += 1,
            None => retries.push((sqlstate.clone(), 1)),
        }
    }

    /// How many retries there were, by the SQLSTATE of the conflict.
    pub(crate) fn retries(&self) -> Vec<(SqlState, u64)> {
        self.lock_retries().clone()
    }

    fn lock_retries(&self) -> MutexGuard<'_, Vec<(SqlState, u64)>> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a transaction has committed.
    pub(crate) fn committed(&self) {
        if self.share.0 > 0 {
            self.account().add(RIVALS);
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn add(&mut self, hundredths: u32) {
        self.balance = self.balance.saturating_add(hundredths).min(MAX);
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok());
        number
            .map(Self)
            .ok_or_else(|| D::Error::custom("a share such as \"20%\""))
    }
}

/// The price of one retry.
const TOKEN: u32 = 100;

/// Lent at the start, so that even a service with little traffic can retry.
const RESERVE: u32 = 10 * TOKEN;

/// The amount that a COMMIT pays in. Measured: of eight writers of one row, up to seven lose to one COMMIT
/// until their delays have grown.
const RIVALS: u32 = 10 * TOKEN;

/// The most that quiet times can save up for a storm of conflicts.
const MAX: u32 = 50 * TOKEN;

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(budget: &RetryBudget) -> u32 {
        std::iter::repeat_with(|| budget.take())
            .take_while(|taken| *taken)
            .count() as u32
    }

    /// case R24
    #[test]
    fn the_reserve_is_a_part_of_the_share_and_no_addition() {
        assert_eq!(retries(&RetryBudget::new(Percent(20))), 10);
        let budget = RetryBudget::new(Percent(20));
        (0..200).for_each(|_| budget.pay_in());
        assert_eq!(retries(&budget), 40);
        (0..5).for_each(|_| budget.pay_in());
        assert_eq!(retries(&budget), 1);
    }

    #[test]
    fn a_commit_pays_for_its_rivals() {
        let budget = RetryBudget::new(Percent(1));
        assert_eq!(retries(&budget), 10);
        budget.committed();
        assert_eq!(retries(&budget), 10);
    }

    #[test]
    fn a_share_of_nothing_lets_nobody_try_again() {
        let budget = RetryBudget::new(Percent(0));
        budget.pay_in();
        budget.committed();
        assert_eq!(retries(&budget), 0);
    }

    #[test]
    fn quiet_times_save_up_so_much_and_no_more() {
        let budget = RetryBudget::new(Percent(20));
        (0..1_000_000).for_each(|_| budget.pay_in());
        (0..100).for_each(|_| budget.committed());
        assert_eq!(retries(&budget), MAX / TOKEN);
    }
}
