//! GitLab's code quality report.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::finding::Finding;
use crate::formats::shown::shown;
use crate::report::Report;
use crate::rules::Severity;

pub(super) fn render(report: &Report) -> String {
    let issues: Vec<_> = report
        .open()
        .map(|finding| {
            let severity = match finding.severity {
                Severity::Error => "major",
                Severity::Warning => "minor",
                Severity::Note => "info",
            };
            json!({
                "description": format!("{} {}", finding.message, finding.help),
                "check_name": finding.rule,
                "fingerprint": fingerprint(finding),
                "severity": severity,
                "location": {
                    "path": shown(&finding.path),
                    "lines": { "begin": finding.line, "end": finding.end_line },
                },
            })
        })
        .collect();
    format!("{:#}", json!(issues))
}

/// The same finding has the same fingerprint in the next report.
pub(super) fn fingerprint(finding: &Finding) -> String {
    let mut digest = Sha256::new();
    for part in [
        finding.rule,
        &shown(&finding.path),
        &finding.line.to_string(),
        &finding.column.to_string(),
    ] {
        digest.update(part);
        digest.update([0]);
    }
    let bytes = digest.finalize();
    bytes
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
