//! `-- dbctl:allow RULE reason="…"`: a finding that somebody has judged, with the reason.

use std::path::Path;

use crate::finding::{Finding, line_and_column};
use crate::outline::Outline;
use crate::rules;

/// One comment.
struct Allowance {
    rule: String,
    reason: Option<String>,
    /// Where the comment begins and ends.
    start: usize,
    end: usize,
}

/// Marks what the comments of a file allow, and returns what is wrong with the comments.
///
/// A comment is about the statement that it stands in front of, or in, and about the file as a whole for
/// rules that have no statement.
pub(crate) fn apply(
    path: &Path,
    text: &str,
    statements: &[Outline<'_>],
    findings: &mut [Finding],
) -> Vec<Finding> {
    let mut problems = Vec::new();
    for allowance in allowances(text) {
        let mut problem = |rule, message: String| {
            let finding = Finding::of_file(rule, path.to_owned(), message);
            problems.push(finding.at(text, allowance.start, allowance.end));
        };
        let rule = match rules::find(&allowance.rule) {
            Ok(rule) => rule,
            Err(error) => {
                problem(&rules::UNKNOWN, error.to_string());
                continue;
            }
        };
        let Some(reason) = &allowance.reason else {
            let message = format!("`{}` is allowed without a reason.", rule.code);
            problem(&rules::NO_REASON, message);
            continue;
        };
        let statement = statements
            .iter()
            .find(|statement| allowance.start < statement.end);
        let line = statement.map(|statement| line_and_column(text, statement.offset).0);
        let mut allowed = findings.iter_mut().filter(|finding| {
            finding.rule == rule.code
                && (finding.statement_line.is_none() || finding.statement_line == line)
        });
        let mut used = false;
        for finding in &mut allowed {
            finding.suppressed = Some(reason.clone());
            used = true;
        }
        if !used {
            let message = format!("`{}` is allowed here, but was not found.", rule.code);
            problem(&rules::UNUSED, message);
        }
    }
    problems
}

/// The comments of this kind. Statements never hold one in a string by chance: the mark stands at the start of
/// a comment line.
fn allowances(text: &str) -> Vec<Allowance> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let comment = line.find("--").map(|at| (at, line[at + 2..].trim()));
        if let Some((at, comment)) = comment
            && let Some(rest) = comment.strip_prefix(MARK)
        {
            let rest = rest.trim_start();
            let (rule, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            found.push(Allowance {
                rule: rule.to_owned(),
                reason: reason(rest),
                start: start + at,
                end: start + line.trim_end().len(),
            });
        }
        start += line.len();
    }
    found
}

fn reason(text: &str) -> Option<String> {
    let quoted = text.trim().strip_prefix("reason=")?.trim();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?.trim();
    (!inner.is_empty()).then(|| inner.to_owned())
}

const MARK: &str = "dbctl:allow";
