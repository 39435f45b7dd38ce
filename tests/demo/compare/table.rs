//! The results, side by side.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::stage::Books;
use super::tally::Counts;
use crate::error::{DemoError, Doing};

/// The content of `comparison.json`.
#[derive(Serialize)]
pub(crate) struct Comparison {
    /// How long each fault lasted for each side.
    pub(crate) seconds: u64,
    pub(crate) rows: Vec<Row>,
}

#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) fault: String,
    pub(crate) plain: Outcome,
    pub(crate) ours: Outcome,
}

/// One side under one fault.
#[derive(Serialize)]
pub(crate) struct Outcome {
    errors: u64,
    wrong_answers: u64,
    /// Money that moved although no answer said so, or the other way round.
    money: i64,
    worst_wait_ms: u64,
    transfers_per_second: u64,
}

impl Outcome {
    pub(crate) fn new(seen: Counts, books: Books, length: Duration) -> Self {
        Self {
            errors: seen.errors,
            wrong_answers: seen.wrong,
            money: (books.moved - seen.acknowledged).abs() + books.wrong.abs(),
            worst_wait_ms: u64::try_from(seen.worst_wait.as_millis()).unwrap_or(u64::MAX),
            transfers_per_second: seen.transfers / length.as_secs(),
        }
    }

    fn is_good(&self) -> bool {
        self.errors == 0 && self.wrong_answers == 0 && self.money == 0
    }

    fn columns(&self) -> String {
        let Self {
            errors,
            wrong_answers,
            money,
            worst_wait_ms,
            transfers_per_second,
        } = self;
        format!(
            "{errors:>6} {wrong_answers:>6} {money:>6} {worst_wait_ms:>7} ms {transfers_per_second:>6}"
        )
    }
}

impl Comparison {
    /// Whether our side had no error, no wrong answer, and all money in its place.
    pub(crate) fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.ours.is_good())
    }

    /// Writes it as JSON.
    pub(crate) fn write(&self, file: &Path) -> Result<(), DemoError> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::from);
        text.and_then(|text| fs::write(file, text + "\n"))
            .doing(|| format!("writing {}", file.display()))
    }

    /// Prints the table on standard output.
    pub(crate) fn print(&self) -> Result<(), DemoError> {
        let printed = io::stdout().write_all(self.text().as_bytes());
        printed.doing(|| "printing the comparison".to_owned())
    }

    fn text(&self) -> String {
        let head = "errors  wrong  money worst wait  per s";
        let mut text = format!(
            "\n{:<26}{:<38}   {}\n{:<26}{head}   {head}\n",
            "", "plain diesel-async + bb8", "app-db", ""
        );
        for Row { fault, plain, ours } in &self.rows {
            text += &format!("{fault:<26}{}   {}\n", plain.columns(), ours.columns());
        }
        text + NOTES
    }
}

const NOTES: &str = "
wrong: answers to another question; money: moved without the customer being told, or told without being moved;
per s: transfers. The plain side has one pool and no call that changes its password; ours has a pool for reports.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(errors: u64, wrong_answers: u64, money: i64) -> Outcome {
        Outcome {
            errors,
            wrong_answers,
            money,
            worst_wait_ms: 5,
            transfers_per_second: 1000,
        }
    }

    #[test]
    fn only_faults_of_our_side_make_it_bad() {
        for (ours, is_good) in [
            ((0, 0, 0), true),
            ((1, 0, 0), false),
            ((0, 1, 0), false),
            ((0, 0, 1), false),
        ] {
            let (errors, wrong, money) = ours;
            let row = Row {
                fault: "a".to_owned(),
                plain: outcome(9, 9, 9),
                ours: outcome(errors, wrong, money),
            };
            assert_eq!(
                Comparison {
                    seconds: 2,
                    rows: vec![row]
                }
                .is_good(),
                is_good
            );
        }
    }

    #[test]
    fn money_that_moved_untold_counts_as_does_money_that_was_told_of_in_vain() {
        for (moved, told) in [(130, 100), (100, 130)] {
            let seen = Counts {
                acknowledged: told,
                ..Counts::default()
            };
            let outcome = Outcome::new(seen, Books { moved, wrong: 0 }, Duration::from_secs(1));
            assert_eq!(outcome.money, 30);
        }
    }
}
