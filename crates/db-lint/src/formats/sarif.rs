//! SARIF 2.1.0: the part of the standard that code scanning reads.

use serde::Serialize;
use serde_json::{Value, json};

use crate::finding::Finding;
use crate::formats::gitlab::fingerprint;
use crate::formats::shown::shown;
use crate::report::Report;
use crate::rules::Rule;

pub(super) fn render(report: &Report) -> String {
    let rules: Vec<&Rule> = Rule::all().collect();
    let shown = &report.findings[..report.findings.len().min(MOST_RESULTS)];
    let left_out = report.findings.len() - shown.len();
    let notification = json!({
        "level": "warning",
        "message": { "text": format!("{left_out} findings are left out of this file") },
    });
    let notifications = if left_out > 0 {
        vec![notification]
    } else {
        Vec::new()
    };
    let log = Log {
        schema: "https://json.schemastore.org/sarif-2.1.0.json",
        version: "2.1.0",
        runs: [Run {
            tool: json!({ "driver": {
                "name": "dbctl",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
            } }),
            column_kind: "unicodeCodePoints",
            invocations: [json!({
                "executionSuccessful": true,
                "toolExecutionNotifications": notifications,
            })],
            results: shown
                .iter()
                .map(|finding| result(finding, &rules))
                .collect(),
        }],
    };
    // In one line, because GitHub takes at most 10 MB.
    serde_json::to_string(&log).unwrap_or_default()
}

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Value,
    column_kind: &'static str,
    invocations: [Value; 1],
    results: Vec<SarifResult>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Value,
    locations: [Value; 1],
    partial_fingerprints: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suppressions: Vec<Value>,
}

fn descriptor(rule: &Rule) -> Value {
    json!({
        "id": rule.code,
        "shortDescription": { "text": rule.summary },
        "fullDescription": { "text": rule.summary },
        "help": { "text": rule.recipe },
        "defaultConfiguration": { "level": rule.severity.as_str() },
    })
}

fn result(finding: &Finding, rules: &[&Rule]) -> SarifResult {
    let rule_index = rules.iter().position(|rule| rule.code == finding.rule);
    let suppressions = finding
        .suppressed
        .iter()
        .map(|reason| json!({ "kind": "inSource", "status": "accepted", "justification": reason }));
    SarifResult {
        rule_id: finding.rule,
        rule_index: rule_index.unwrap_or_default(),
        level: finding.severity.as_str(),
        message: json!({ "text": format!("{} {}", finding.message, finding.help) }),
        locations: [json!({ "physicalLocation": {
            "artifactLocation": { "uri": uri(&shown(&finding.path)) },
            "region": {
                "startLine": finding.line,
                "startColumn": finding.column,
                "endLine": finding.end_line,
                "endColumn": finding.end_column,
            },
        } })],
        partial_fingerprints: json!({ "dbctl/v1": fingerprint(finding) }),
        suppressions: suppressions.collect(),
    }
}

/// A path as a relative URI, or an absolute one.
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    if path.starts_with('/') {
        uri.insert_str(0, "file://");
    }
    uri
}

/// GitHub shows at most this many.
const MOST_RESULTS: usize = 5000;
