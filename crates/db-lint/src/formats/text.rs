//! For people.

use std::fmt::Write as _;

use crate::formats::shown::shown;
use crate::report::Report;

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    for finding in report.open() {
        let _ = writeln!(
            text,
            "{}:{}:{}: {} {}: {}\n    {}",
            shown(&finding.path),
            finding.line,
            finding.column,
            finding.severity.as_str(),
            finding.rule,
            finding.message,
            finding.help,
        );
    }
    text.trim_end().to_owned()
}
