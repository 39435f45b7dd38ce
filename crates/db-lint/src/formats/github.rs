//! Annotations: lines that GitHub's runner shows beside the change.

use crate::formats::shown::shown;
use crate::report::Report;
use crate::rules::Severity;

pub(super) fn render(report: &Report) -> String {
    let lines: Vec<String> = report
        .open()
        .map(|finding| {
            let command = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            format!(
                "::{command} file={},line={},endLine={},col={},title={}::{}",
                property(&shown(&finding.path)),
                finding.line,
                finding.end_line,
                finding.column,
                property(finding.rule),
                data(&format!("{} {}", finding.message, finding.help)),
            )
        })
        .collect();
    lines.join("\n")
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
