//! Reads a value as python-dotenv, docker compose and node's dotenv agree on it.

use super::substitution::{self, Known};

/// The text of a value, before escapes and substitutions.
pub(super) enum Value<'a> {
    /// Without quotes and without its comment.
    Plain(&'a str),
    /// Between single quotes.
    Single(&'a str),
    /// Between double quotes.
    Double(&'a str),
}

impl<'a> Value<'a> {
    /// Takes the value at the start of a text. The length includes the comment and the line break.
    ///
    /// Only a quote at the start of a value spans lines. A quote that is never closed, or is closed
    /// before something that is no comment, spoils only its own line.
    pub(super) fn first_of(text: &'a str) -> (Result<Self, &'static str>, usize) {
        let line_length = text.find('\n').map_or(text.len(), |end| end + 1);
        let start = text[..line_length].trim_start();
        let Some(quote @ ('\'' | '"')) = start.chars().next() else {
            return (
                backtick(start, text, line_length).unwrap_or_else(|| plain(start)),
                line_length,
            );
        };
        let body = line_length - start.len() + 1;
        let Some(end) = closing(&text[body..], quote).map(|length| body + length) else {
            return (Err("a quote is not closed"), line_length);
        };
        let after = &text[end + 1..];
        let rest_length = after.find('\n').map_or(after.len(), |end| end + 1);
        let rest = after[..rest_length].trim_start();
        if !rest.is_empty() && !rest.starts_with('#') {
            return (Err("something follows the closing quote"), line_length);
        }
        let body = &text[body..end];
        let value = match quote {
            '\'' => Value::Single(body),
            _ => Value::Double(body),
        };
        (Ok(value), end + 1 + rest_length)
    }

    /// Undoes the escapes and substitutes. The error never quotes the value.
    pub(super) fn read(&self, known: &Known<'_>) -> Result<String, &'static str> {
        match self {
            Value::Plain(text) => read_plain(text, known),
            Value::Single(text) => read_single(text),
            Value::Double(text) => read_double(text, known),
        }
    }
}

/// Cuts the comment off a value without quotes.
fn plain(text: &str) -> Result<Value<'_>, &'static str> {
    // For node each `#` begins a comment; for docker compose only a `#` after a blank in the value.
    let text = match text.find('#') {
        Some(at) if text[..at].ends_with(' ') => &text[..at],
        Some(_) => return Err("a `#` in a value needs single quotes around the value"),
        None => text,
    };
    Ok(Value::Plain(text.trim_end()))
}

/// Refuses a value between backticks. For node they are quotes, if the second one ends the value on
/// any line, or ends the line.
fn backtick(
    start: &str,
    text: &str,
    line_length: usize,
) -> Option<Result<Value<'static>, &'static str>> {
    let inner = start.strip_prefix('`')?;
    let refused = Some(Err(
        "a backtick is a quote to some programs only: use single quotes",
    ));
    let uncommented = inner.split('#').next().unwrap_or_default();
    if uncommented.trim_end().ends_with('`') {
        return refused;
    }
    let text = &text[line_length - inner.len()..];
    for (at, _) in text.match_indices('`') {
        let rest = text[at + 1..]
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start();
        if rest.is_empty() || rest.starts_with('#') {
            return refused;
        }
        if !text[..at].ends_with('\\') {
            return None;
        }
    }
    None
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(at)
    })
}

fn read_plain(text: &str, known: &Known<'_>) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if value.ends_with('\\') && chars.peek() == Some(&'$') => return Err(BACKSLASH),
            '\\' if chars.peek() == Some(&'$') => value.extend(chars.next()),
            '$' => value.push_str(&substitution::read(&mut chars, known)?),
            '\r' => return Err("a line break of another kind"),
            c => value.push(c),
        }
    }
    Ok(value)
}

fn read_single(text: &str) -> Result<String, &'static str> {
    match text.contains(r"\\") || text.contains(r"\'") {
        true => Err("programs differ about a backslash before a backslash or a quote"),
        false => Ok(text.to_owned()),
    }
}

fn read_double(text: &str, known: &Known<'_>) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('$') => value.push('$'),
                Some('\\' | '"' | '\'' | 'a' | 'b' | 'f' | 't' | 'v' | '0') | None => {
                    return Err(BACKSLASH);
                }
                Some(other) => value.extend(['\\', other]),
            },
            '$' => value.push_str(&substitution::read(&mut chars, known)?),
            c => value.push(c),
        }
    }
    Ok(value)
}

const BACKSLASH: &str = "programs differ about a backslash in the value: use single quotes";
