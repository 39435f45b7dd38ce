//! The actions to run after a COMMIT.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The actions, in the order in which the work registered them.
pub type Actions = Vec<Box<dyn FnOnce() + Send>>;

/// Runs the actions in order. If one panics, the rest still run, and then the first panic goes on.
pub fn run_all(left: Actions) {
    let run = |action| catch_unwind(AssertUnwindSafe(action)).err();
    let panics: Vec<_> = left.into_iter().filter_map(run).collect();
    if let Some(first) = panics.into_iter().next() {
        resume_unwind(first);
    }
}
