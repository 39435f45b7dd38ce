//! Squawk's rules, applied to one file.

use std::path::Path;

use squawk_linter::Rule as SquawkRule;
use squawk_syntax::SourceFile;

use crate::finding::Finding;
use crate::rules::{self, Rule};
use crate::squawk_toml::SquawkToml;

/// What squawk finds in the text of one `up.sql`.
pub(crate) fn findings(
    path: &Path,
    text: &str,
    in_transaction: bool,
    settings: &SquawkToml,
) -> Vec<Finding> {
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
    let parse = SourceFile::parse(text);
    let mut found = Vec::new();
    for error in parse.errors() {
        let (start, end) = (error.range().start().into(), error.range().end().into());
        // The server has the last word: it may know what squawk does not.
        let finding = Finding::of_file(&rules::SYNTAX, path.to_owned(), error.message());
        found.push(finding.at(text, start, end));
    }
    for violation in linter.lint(&parse, text) {
        let Ok(rule) = rules::find(&violation.code.to_string()) else {
            continue;
        };
        let mut message = violation.message;
        if let Some(unknown) = message.strip_prefix("unknown name ") {
            if let Err(error) = rules::find(unknown) {
                message = error.to_string();
            } else {
                // A rule of ours, which squawk does not know.
                continue;
            }
        }
        let (start, end) = (
            violation.text_range.start().into(),
            violation.text_range.end().into(),
        );
        found.push(Finding::of_file(rule, path.to_owned(), message).at(text, start, end));
    }
    found
}
