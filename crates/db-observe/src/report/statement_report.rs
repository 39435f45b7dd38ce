//! What statements have cost, as plain data.

use app_db::StatementStats;
use serde::{Deserialize, Serialize};

use crate::report::written::millis;

/// What the statements of one fingerprint have cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StatementReport {
    /// The pool that ran them.
    pub pool: String,
    /// Their fingerprint.
    pub fingerprint: String,
    /// Their text, with `?` for values.
    pub text: String,
    /// How often they ran.
    pub count: u64,
    /// How often they failed.
    pub errors: u64,
    /// The rows that they returned or changed.
    pub rows: u64,
    /// The total time.
    pub total_ms: f64,
    /// The mean.
    pub mean_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
}

impl StatementReport {
    pub(crate) fn of(stats: &StatementStats) -> Self {
        Self {
            pool: stats.pool.to_string(),
            fingerprint: stats.fingerprint.to_string(),
            text: stats.text.to_string(),
            count: stats.count,
            errors: stats.errors.iter().map(|(_, count)| count).sum(),
            rows: stats.rows,
            total_ms: millis(stats.total),
            mean_ms: millis(stats.times.mean),
            p99_ms: millis(stats.times.p99),
        }
    }
}
