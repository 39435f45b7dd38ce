//! What Prometheus' own tool says about the metrics and the rules in `grafana/`.

use std::io::Write;
use std::process::{Command, Stdio};

use db_observe::{Exporter, Format, Monitor, MonitorOptions};

use super::metrics::used;

/// req 0.13: the one remark is about a name that OpenTelemetry has given.
#[tokio::test]
async fn a_scrape_is_as_it_should_be_by_prometheus() {
    let (_db, database) = used().await;
    let monitor = Monitor::new(&database, MonitorOptions::default());
    monitor.look().await;
    let exporter = Exporter::with_fingerprints(&database, Some(&monitor), 10);
    let said = promtool(&["check", "metrics"], &exporter.encode(Format::Prometheus));
    assert_eq!(
        said.trim(),
        "db_client_connection_count non-histogram and non-summary metrics should not have \"_count\" suffix"
    );
}

/// req 0.18: each rule fires when it should, and is over when it should be.
#[test]
fn the_rules_fire_and_end_by_prometheus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../grafana/");
    let checked = promtool(&["check", "rules", &format!("{folder}rules.yaml")], "");
    assert!(checked.contains("SUCCESS"), "{checked}");
    let tested = promtool(&["test", "rules", &format!("{folder}rules_test.yaml")], "");
    assert!(tested.contains("SUCCESS"), "{tested}");
}

/// Everything that it says.
fn promtool(arguments: &[&str], input: &str) -> String {
    let mut tool = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("no promtool (Debian: prometheus): {error}"));
    let mut stdin = tool.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = tool.wait_with_output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}
