//! What came of the questions.

use std::fmt::Display;

use serde::Serialize;

/// The counts, with a few examples of what went wrong.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) right: u64,
    pub(crate) wrong: u64,
    pub(crate) failed: u64,
    pub(crate) examples: Vec<String>,
    pub(crate) pooler: String,
    pub(crate) opened: u64,
    pub(crate) discarded: u64,
}

impl Tally {
    pub(crate) fn of_failure(error: &dyn Display) -> Self {
        let mut tally = Self::default();
        tally.failed("connecting", error);
        tally
    }

    pub(crate) fn answered(&mut self, question: &str, answer: &str, expected: &str) {
        if answer == expected {
            self.right += 1;
        } else {
            self.wrong += 1;
            self.example(format!("{question}: {answer:.60} and not {expected:.60}"));
        }
    }

    pub(crate) fn failed(&mut self, question: &str, error: &dyn Display) {
        self.failed += 1;
        self.example(format!("{question}: {error}"));
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.failed += other.failed;
        other
            .examples
            .into_iter()
            .for_each(|example| self.example(example));
    }

    fn example(&mut self, example: String) {
        if self.examples.len() < 20 {
            self.examples.push(example);
        }
    }
}
