//! What the work left to be done after its COMMIT.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs what was left for after the COMMIT, the rest of it also when some of it panics.
pub(crate) fn run_all(left: Vec<Box<dyn FnOnce() + Send>>) {
    let run = |action| catch_unwind(AssertUnwindSafe(action)).err();
    let panics: Vec<_> = left.into_iter().filter_map(run).collect();
    if let Some(first) = panics.into_iter().next() {
        resume_unwind(first);
    }
}
