//! One thing that a rule has found.

use std::path::PathBuf;

use serde::Serialize;

use crate::rules::{Rule, Severity};

/// One thing that a rule has found, with its place.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The stable name of the rule.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The file.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in that line, in characters, from 1.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column after the end.
    pub end_column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do instead.
    pub help: String,
    /// The reason that the file gives for allowing it, or the bare word of a comment that gives none
    /// (`squawk-ignore`). An allowed finding is no error.
    pub suppressed: Option<String>,
    /// The line on which the statement begins, if it is about one.
    #[serde(skip)]
    pub(crate) statement_line: Option<usize>,
    /// Where it begins in the file, in bytes.
    #[serde(skip)]
    pub(crate) offset: Option<usize>,
}

impl Finding {
    /// A finding about a whole file.
    pub(crate) fn of_file(rule: &'static Rule, path: PathBuf, message: impl Into<String>) -> Self {
        Self {
            rule: rule.code,
            severity: rule.severity,
            path,
            line: 1,
            column: 1,
            end_line: 1,
            end_column: 1,
            message: message.into(),
            help: rule.recipe.to_owned(),
            suppressed: None,
            statement_line: None,
            offset: None,
        }
    }

    /// Places it at a range of bytes.
    pub(crate) fn at(mut self, text: &str, start: usize, end: usize) -> Self {
        (self.line, self.column) = line_and_column(text, start);
        (self.end_line, self.end_column) = line_and_column(text, end.max(start));
        self.offset = Some(start);
        self
    }

    /// Whether it makes `lint` fail.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error && self.suppressed.is_none()
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        1 + before.matches('\n').count(),
        1 + before[line_start..].chars().count(),
    )
}
