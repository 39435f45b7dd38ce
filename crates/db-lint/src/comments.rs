//! The comments of a file, as the parser sees them. A string or the body of a function contains
//! none.

use squawk_syntax::{SourceFile, SyntaxElement, SyntaxKind};

/// One comment.
pub(crate) struct Comment<'a> {
    /// What it says, without its marks and the blanks around it.
    pub(crate) body: &'a str,
    /// Where it begins and ends.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether it goes to the end of its line.
    pub(crate) is_line: bool,
}

impl Comment<'_> {
    /// Whether something else stands before it on its line.
    pub(crate) fn follows_sql(&self, text: &str) -> bool {
        let line = text[..self.start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        !text[line..self.start].trim().is_empty()
    }
}

/// The comments of `text`.
pub(crate) fn comments(text: &str) -> Vec<Comment<'_>> {
    let parsed = SourceFile::parse(text);
    let tokens = parsed
        .syntax_node()
        .descendants_with_tokens()
        .filter_map(SyntaxElement::into_token)
        .filter(|token| token.kind() == SyntaxKind::COMMENT);
    let found = tokens.map(|token| {
        let range = token.text_range();
        let (start, end) = (range.start().into(), range.end().into());
        let whole: &str = &text[start..end];
        let is_line = whole.starts_with("--");
        let body = if is_line {
            &whole[2..]
        } else {
            let opened = whole.strip_prefix("/*").unwrap_or(whole);
            opened.strip_suffix("*/").unwrap_or(opened)
        };
        Comment {
            body: body.trim(),
            start,
            end,
            is_line,
        }
    });
    found.collect()
}
