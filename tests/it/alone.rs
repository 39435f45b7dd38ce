//! For tests of what a whole process has, such as its descriptors and its panic hook.

use std::process::Command;
use std::{env, thread};

/// Whether the test has its process to itself, as with cargo-nextest.
///
/// With `cargo test` other tests run in the same process. Then this runs the test in a new process and waits for it, and
/// the caller has nothing more to do.
///
/// # Panics
/// If the test fails there.
pub(crate) fn has_its_own_process() -> bool {
    let is_alone = |variable| env::var_os(variable).is_some();
    // libtest names the thread of a test after it, unless it runs one test at a time.
    let thread = thread::current();
    let name = thread.name().filter(|name| *name != "main");
    let (false, false, Some(name)) = (is_alone("NEXTEST"), is_alone(ALONE), name) else {
        return true;
    };
    let mut test = Command::new(env::current_exe().unwrap());
    let output = test
        .args(["--exact", name])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

const ALONE: &str = "DB_TESTS_ALONE";
