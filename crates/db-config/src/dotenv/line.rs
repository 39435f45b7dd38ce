//! Finds the name and the extent of each assignment of the file.

use super::value::Value;

/// The first line of a text, or several lines if a quoted value spans them.
pub(super) struct Line<'a> {
    /// The variable that the line sets. There is none if the line is blank or a comment, and there
    /// are two if we do not understand the line and either of two words may be meant.
    pub(super) names: Vec<&'a str>,
    pub(super) value: Result<Value<'a>, &'static str>,
    /// The length in bytes, with the line break.
    pub(super) length: usize,
}

impl<'a> Line<'a> {
    pub(super) fn first_of(text: &'a str) -> Self {
        let length = text.find('\n').map_or(text.len(), |end| end + 1);
        let line = &text[..length];
        let nothing = Line {
            names: Vec::new(),
            value: Err(EXPECTED),
            length,
        };
        let start = line.trim_start();
        if start.is_empty() || start.starts_with('#') {
            return nothing;
        }
        let start = match start.strip_prefix("export") {
            Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
            _ => start,
        };
        let name = &start[..start.find(|c| !is_of_name(c)).unwrap_or(start.len())];
        let after = start[name.len()..].trim_start();
        match after.strip_prefix('=') {
            Some(value) if !name.is_empty() => {
                let offset = length - value.len();
                let (value, value_length) = Value::first_of(&text[offset..]);
                Line {
                    names: vec![name],
                    value,
                    length: offset + value_length,
                }
            }
            // A name alone sets nothing.
            _ if after.is_empty() => nothing,
            _ => Line {
                names: misplaced(start, name),
                ..nothing
            },
        }
    }
}

/// The words of a line that may be meant as the name of a variable, as in `set NAME=value`,
/// `NAME: value` and `"NAME"="value"`.
fn misplaced<'a>(line: &'a str, first: &'a str) -> Vec<&'a str> {
    // What follows such a character is a comment in many languages.
    if line.starts_with(['/', ';', '!', '*', '<']) {
        return Vec::new();
    }
    let before = line.split(['=', '\n']).next().unwrap_or_default();
    let before = before.trim_end_matches([' ', '\t', '"', '\'']);
    let start = before.rfind(|c| !is_of_name(c)).map_or(0, |at| {
        at + before[at..].chars().next().map_or(1, char::len_utf8)
    });
    let mut names = vec![first, &before[start..]];
    names.retain(|name| !name.is_empty());
    names.dedup();
    names
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

const EXPECTED: &str = "expected NAME=value";
