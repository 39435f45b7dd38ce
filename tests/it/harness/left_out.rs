//! Tests that the server at hand cannot run are left out and counted, by the script that runs the tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// The script with a cargo that lists three tests, and otherwise prints its arguments and fails with code 100.
fn cargo_tests(lacking: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let cargo = "#!/bin/sh\n\
        if [ \"$2\" = list ]; then printf 'it a_over_tls\\nit b_over_tls\\nit c_in_german\\n'; exit; fi\n\
        echo \"$@\"; exit 100\n";
    for program in ["cargo", "cargo-nextest"] {
        let path = folder.path().join(program);
        fs::write(&path, cargo).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    Command::new("sh")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/harness/cargo-tests.sh"
        ))
        .args(arguments)
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .env("DB_TESTS_LACKING", lacking)
        .output()
        .unwrap()
}

#[test]
fn what_the_server_lacks_is_left_out_counted_and_told() {
    let lacking = "over_tls need TLS, which it has not\nin_german need German\npsql need clients";
    let run = cargo_tests(lacking, &["--workspace", "name"]);
    let (output, told) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert_eq!(
        output.trim(),
        "nextest run --no-fail-fast --workspace name -- --skip over_tls --skip in_german --skip psql"
    );
    assert!(
        told.contains("2 tests did not run: they need TLS, which it has not"),
        "{told}"
    );
    assert!(
        told.contains("1 tests did not run: they need German"),
        "{told}"
    );
    assert!(!told.contains("clients"), "{told}");
    assert_eq!(run.status.code(), Some(100));
}

#[test]
fn arguments_for_the_tests_themselves_stay_in_their_place() {
    let run = cargo_tests("over_tls need TLS", &["name", "--", "--nocapture"]);
    let output = String::from_utf8_lossy(&run.stdout);
    assert_eq!(
        output.trim(),
        "nextest run --no-fail-fast name -- --nocapture --skip over_tls"
    );
}

#[test]
fn a_server_that_lacks_nothing_leaves_out_nothing() {
    let run = cargo_tests("", &["--workspace"]);
    assert_eq!(
        String::from_utf8_lossy(&run.stdout).trim(),
        "nextest run --no-fail-fast --workspace"
    );
    assert_eq!(run.status.code(), Some(100));
}

/// Before anything is fetched.
#[test]
fn a_version_that_is_no_number_is_refused() {
    let set_up = Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/harness/setup.sh"))
        .env("PG", "eighteen")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&set_up.stderr);
    assert!(told.contains("PG=eighteen: expected the number"), "{told}");
    assert_eq!(set_up.status.code(), Some(1));
}
