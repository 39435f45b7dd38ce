//! `-- dbctl:allow RULE reason="…"` allows a finding, and says why.

use std::path::Path;

use crate::comments::comments;
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
    /// Whether it stands at the end of a line of SQL.
    follows_sql: bool,
}

impl Allowance {
    /// The statement that it is about.
    fn statement<'s, 't>(&self, statements: &'s [Outline<'t>]) -> Option<&'s Outline<'t>> {
        if self.follows_sql {
            let mut begun = statements.iter().rev();
            begun.find(|statement| statement.offset < self.start)
        } else {
            let mut next = statements.iter();
            next.find(|statement| self.start < statement.end)
        }
    }
}

/// Marks the findings that the comments of a file allow, and returns what is wrong with the comments.
///
/// A comment applies to the statement that follows it, to the statement around it, or to the statement before it
/// on the same line. For rules that have no statement it applies to the whole file.
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
        let statement = allowance.statement(statements);
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

/// The comments of this kind.
fn allowances(text: &str) -> Vec<Allowance> {
    let comments = comments(text).into_iter().filter(|comment| comment.is_line);
    let found = comments.filter_map(|comment| {
        let rest = comment.body.strip_prefix(MARK)?.trim_start();
        let (rule, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        Some(Allowance {
            rule: rule.to_owned(),
            reason: reason(rest),
            start: comment.start,
            end: comment.end,
            follows_sql: comment.follows_sql(text),
        })
    });
    found.collect()
}

fn reason(text: &str) -> Option<String> {
    let quoted = text.trim().strip_prefix("reason=")?.trim();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?.trim();
    (!inner.is_empty()).then(|| inner.to_owned())
}

const MARK: &str = "dbctl:allow";
