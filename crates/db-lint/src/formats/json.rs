//! JSON of our own, with everything that is known.

use serde_json::json;

use crate::formats::shown::shown;
use crate::report::Report;

pub(super) fn render(report: &Report) -> String {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let mut value = json!(finding);
            value["path"] = json!(shown(&finding.path));
            value
        })
        .collect();
    let whole = json!({
        "schema": 1,
        "errors": report.errors(),
        "warnings": report.warnings(),
        "findings": findings,
    });
    format!("{whole:#}")
}
