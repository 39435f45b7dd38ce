//! Squawk's rules, applied to one file.

use std::collections::BTreeSet;
use std::path::Path;

use squawk_linter::Rule as SquawkRule;
use squawk_linter::Violation;
use squawk_syntax::SourceFile;

use crate::finding::Finding;
use crate::rules::{self, Rule};
use crate::squawk_ignore::{Ignores, disarmed};
use crate::squawk_toml::SquawkToml;

/// What squawk finds in the text of one `up.sql`. A finding that a comment of squawk's ignores is there too,
/// marked as allowed.
pub(crate) fn findings(
    path: &Path,
    text: &str,
    in_transaction: bool,
    settings: &SquawkToml,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for error in SourceFile::parse(text).errors() {
        let (start, end) = (error.range().start().into(), error.range().end().into());
        // The server decides: it may know statements that squawk does not.
        let finding = Finding::of_file(&rules::SYNTAX, path.to_owned(), error.message());
        found.push(finding.at(text, start, end));
    }
    let open = violations(text, in_transaction, settings);
    let ignores = Ignores::of(text);
    if !ignores.is_empty() {
        let place = |violation: &Violation| {
            let start: usize = violation.text_range.start().into();
            (violation.code.to_string(), start)
        };
        let shown: BTreeSet<_> = open.iter().map(place).collect();
        let all = violations(&disarmed(text), in_transaction, settings);
        for violation in all.into_iter().filter(|v| !shown.contains(&place(v))) {
            let (code, start) = place(&violation);
            let finding = finding(path, text, violation).map(|finding| Finding {
                suppressed: Some(ignores.reason(text, &code, start)),
                ..finding
            });
            found.extend(finding);
        }
    }
    found.extend(open.into_iter().filter_map(|v| finding(path, text, v)));
    found
}

fn violations(text: &str, in_transaction: bool, settings: &SquawkToml) -> Vec<Violation> {
    let squawk_rules = |rules: &[&'static Rule]| -> Vec<SquawkRule> {
        let known = rules.iter().filter_map(|rule| rule.code.parse().ok());
        known.collect()
    };
    let mut excluded = squawk_rules(&settings.excluded);
    // The migrator sets both.
    excluded.extend([
        SquawkRule::RequireLockTimeout,
        SquawkRule::RequireStatementTimeout,
    ]);

    // A linter keeps what it has found, so each file gets one of its own.
    let mut linter =
        squawk_linter::Linter::with_rules(&squawk_rules(&settings.included), &excluded);
    linter.settings.assume_in_transaction = in_transaction;
    if let Some(version) = settings.pg_version {
        linter.settings.pg_version = version;
    }
    linter.lint(&SourceFile::parse(text), text)
}

/// `None` if our own rules judge this.
fn finding(path: &Path, text: &str, violation: Violation) -> Option<Finding> {
    let rule = rules::find(&violation.code.to_string()).ok()?;
    let mut message = violation.message;
    if let Some(unknown) = message.strip_prefix("unknown name ") {
        // Squawk does not know our rules, so the name of one of them is not a mistake.
        message = rules::find(unknown).err()?.to_string();
    }
    let (start, end) = (
        violation.text_range.start().into(),
        violation.text_range.end().into(),
    );
    // The migrator makes a concurrent build repeatable, and IF NOT EXISTS would hide an invalid index.
    let statement = text.get(start..end).unwrap_or_default().to_lowercase();
    if rule.code == "prefer-robust-stmts" && statement.contains("concurrently") {
        return None;
    }
    Some(Finding::of_file(rule, path.to_owned(), message).at(text, start, end))
}
