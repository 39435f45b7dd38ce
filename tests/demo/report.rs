//! The results, for people and for programs.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{DemoError, Doing};
use crate::options::Mode;

/// The content of `report.json`.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) seconds: u64,
    /// None when the service went straight to the server.
    pub(crate) pooler: Option<Pooler>,
    /// Transfers that the service acknowledged, including the deposits.
    pub(crate) transfers_committed: u64,
    /// Transfers of the load, without the deposits.
    #[serde(skip)]
    pub(crate) load_transfers: u64,
    /// The same for each second.
    pub(crate) transfers_per_second: u64,
    pub(crate) reads: u64,
    /// Requests that did not get the right answer.
    pub(crate) errors: u64,
    pub(crate) rotations: u64,
    /// Connections closed because they had an old password.
    pub(crate) connections_replaced: u64,
    pub(crate) slow_queries: u64,
    pub(crate) ledger_sum: i64,
    pub(crate) ledger_rows: u64,
    pub(crate) wrong_balances: u64,
    /// Occurrences of a password in the service's log.
    pub(crate) secrets_in_log: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The PgBouncer between service and server.
#[derive(Serialize)]
pub(crate) struct Pooler {
    pub(crate) version: String,
    pub(crate) mode: Mode,
}

impl fmt::Display for Pooler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Session => "session",
            Mode::Transaction => "transaction",
        };
        write!(f, "PgBouncer {} in {mode} mode", self.version)
    }
}

impl Report {
    /// Everything that is wrong.
    fn faults(&self) -> Vec<String> {
        let lost = self.ledger_rows != 2 * self.transfers_committed;
        [
            (self.errors > 0).then(|| format!("{} requests failed", self.errors)),
            (self.ledger_sum != 0).then(|| format!("the entries add up to {}", self.ledger_sum)),
            (self.wrong_balances > 0)
                .then(|| format!("{} balances are wrong", self.wrong_balances)),
            lost.then(|| "the entries are not two for each acknowledged transfer".to_owned()),
            (self.load_transfers == 0).then(|| "the load moved no money".to_owned()),
            (self.connections_replaced == 0)
                .then(|| "the rotations replaced no connection".to_owned()),
            (self.secrets_in_log > 0).then(|| "the ledger's log holds a password".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether no request failed and the books balance.
    pub(crate) fn is_good(&self) -> bool {
        self.faults().is_empty()
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, file: &Path) -> Result<(), DemoError> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        text.and_then(|text| fs::write(file, text + "\n"))
            .doing(|| format!("writing {}", file.display()))
    }

    /// Prints the table and the verdict on standard output.
    pub(crate) fn print(&self) -> Result<(), DemoError> {
        let rate = self.transfers_per_second;
        let way = match &self.pooler {
            Some(pooler) => format!("through {pooler}"),
            None => "straight to the server, without PgBouncer".to_owned(),
        };
        let lines = [
            (
                "transfers committed",
                self.transfers_committed.to_string(),
                format!("{rate} per second, {way}"),
            ),
            ("reads", self.reads.to_string(), String::new()),
            ("errors", self.errors.to_string(), String::new()),
            (
                "password rotations",
                self.rotations.to_string(),
                String::new(),
            ),
            (
                "connections replaced",
                self.connections_replaced.to_string(),
                "by those rotations".to_owned(),
            ),
            ("slow queries", self.slow_queries.to_string(), String::new()),
            (
                "sum of the ledger",
                self.ledger_sum.to_string(),
                "0: no money was made or lost".to_owned(),
            ),
            (
                "rows of the ledger",
                self.ledger_rows.to_string(),
                "two for each transfer".to_owned(),
            ),
            (
                "transfer, median",
                format!("{:.1}", self.p50_ms),
                "ms".to_owned(),
            ),
            (
                "transfer, 99 %",
                format!("{:.1}", self.p99_ms),
                "ms".to_owned(),
            ),
        ];
        let mut text = String::from("\n");
        for (name, value, note) in lines {
            text += format!("  {name:<21}{value:>10}  {note}").trim_end();
            text.push('\n');
        }
        text += &match self.faults() {
            faults if faults.is_empty() => format!(
                "\nGOOD: the password changed {} times under load, no request failed, and the books balance.\n",
                self.rotations
            ),
            faults => format!("\nBAD: {}.\n", faults.join("; ")),
        };
        io::stdout()
            .write_all(text.as_bytes())
            .doing(|| "printing the report".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            seconds: 15,
            pooler: None,
            transfers_committed: 7,
            load_transfers: 2,
            transfers_per_second: 0,
            reads: 3,
            errors: 0,
            rotations: 2,
            connections_replaced: 20,
            slow_queries: 1,
            ledger_sum: 0,
            ledger_rows: 14,
            wrong_balances: 0,
            secrets_in_log: 0,
            p50_ms: 1.0,
            p99_ms: 2.0,
        }
    }

    #[test]
    fn each_fault_makes_the_verdict_bad() {
        assert!(good().is_good());
        let faults: [fn(&mut Report); 8] = [
            |report| report.errors = 1,
            |report| report.load_transfers = 0,
            |report| report.connections_replaced = 0,
            |report| report.ledger_sum = -5,
            |report| report.wrong_balances = 1,
            |report| report.secrets_in_log = 1,
            |report| report.ledger_rows += 2,
            |report| report.ledger_rows -= 2,
        ];
        for fault in faults {
            let mut report = good();
            fault(&mut report);
            assert_eq!(report.faults().len(), 1);
        }
    }
}
