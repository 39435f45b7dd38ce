//! Splits libpq's other form of a URL: `host=localhost user=app`.

use super::gathered::Gathered;
use super::treatment::Treatment;

/// Whether a text is of that form: it starts with the name of a parameter and a `=`.
pub(super) fn are_meant(text: &str) -> bool {
    let Some((name, _)) = text.split_once('=') else {
        return false;
    };
    let name = name.trim_end();
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
        && !matches!(Treatment::of(name, ""), Treatment::Unknown { suggestion } if suggestion.is_empty())
}

/// Splits the pairs. A value may stand in single quotes, and a backslash escapes any character.
pub(super) fn split(text: &str) -> Result<Gathered, Vec<String>> {
    // The rest of a password with a blank in it looks like the name of a parameter, so none is shown.
    let mut gathered = Gathered::new(Vec::new(), Vec::new(), false);
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace());
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        let Some(after) = after.trim_start().strip_prefix('=') else {
            gathered.problem(
                "a word without `=`; a value with a blank needs single quotes around it".to_owned(),
            );
            break;
        };
        match value(after.trim_start()) {
            Ok((value, after)) => {
                gathered.add(name.to_owned(), value);
                rest = after.trim_start();
            }
            Err(problem) => {
                gathered.problem(problem.to_owned());
                break;
            }
        }
    }
    gathered.finish()
}

/// Takes the value at the start of the text, and returns what follows it.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let quoted = text.strip_prefix('\'');
    let mut value = String::new();
    let mut chars = quoted.unwrap_or(text).chars();
    loop {
        let rest = chars.as_str();
        match chars.next() {
            Some('\\') => value.extend(chars.next()),
            Some('\'') if quoted.is_some() => return Ok((value, chars.as_str())),
            Some(c) if quoted.is_none() && c.is_ascii_whitespace() => return Ok((value, rest)),
            Some(c) => value.push(c),
            None if quoted.is_some() => return Err("a quote is not closed"),
            None => return Ok((value, rest)),
        }
    }
}
