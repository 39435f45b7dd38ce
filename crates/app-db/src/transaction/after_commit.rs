//! The actions that the work left for after its COMMIT.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs the actions in order. If one panics, the rest still run, and then the first panic goes on.
pub(crate) fn run_all(left: Vec<Box<dyn FnOnce() + Send>>) {
    let run = |action| catch_unwind(AssertUnwindSafe(action)).err();
    let panics: Vec<_> = left.into_iter().filter_map(run).collect();
    if let Some(first) = panics.into_iter().next() {
        resume_unwind(first);
    }
}
