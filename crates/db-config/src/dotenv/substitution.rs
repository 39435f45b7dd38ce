//! Replaces `$NAME` and `${NAME}` with the value of another variable, as dotenvy does.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use super::assignment::Assignment;

/// The variables that a value may name: the variables of the process, and the earlier ones of the file.
pub(super) struct Known<'a> {
    pub(super) process: &'a BTreeMap<String, String>,
    pub(super) earlier: &'a [Assignment],
}

impl Known<'_> {
    fn find(&self, name: &str) -> Result<Option<&str>, &'static str> {
        if let Some(value) = self.process.get(name) {
            return Ok(Some(value));
        }
        match self.earlier.iter().rfind(|earlier| earlier.name == name) {
            Some(Assignment {
                value: Ok(text), ..
            }) => Ok(Some(text)),
            Some(_) => Err("it contains another variable of .env, which has no value"),
            None => Ok(None),
        }
    }
}

/// Reads what follows a `$`. The error does not name the variable, since a password may hold the `$`.
pub(super) fn read(
    chars: &mut Peekable<Chars<'_>>,
    known: &Known<'_>,
) -> Result<String, &'static str> {
    if chars.next_if_eq(&'{').is_some() {
        let mut inside = String::new();
        loop {
            match chars.next().ok_or(UNCLOSED)? {
                '}' => return braced(&inside, known),
                c => inside.push(c),
            }
        }
    }
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_alphanumeric()) {
        name.push(c);
    }
    // Unlike a shell, dotenvy ends the name at a `_`, and it treats a backslash in its own way.
    if !name.is_empty() && matches!(chars.peek(), Some('_' | '\\')) {
        return Err("write `${NAME}` where a `_` or a backslash follows");
    }
    known.find(&name)?.map(str::to_owned).ok_or(UNSET)
}

fn braced(inside: &str, known: &Known<'_>) -> Result<String, &'static str> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    match (known.find(name)?, default) {
        (Some(""), Some(_)) => Err("programs differ about `:-` after an empty variable"),
        (Some(value), _) => Ok(value.to_owned()),
        (None, Some(default)) if !default.contains(['$', '{', '\\', '"']) => Ok(default.to_owned()),
        (None, _) => Err(UNSET),
    }
}

const UNSET: &str = "a `$` begins the name of another variable, which is not set before \
                     this line: set it, or put the value in single quotes if the `$` is meant";

const UNCLOSED: &str = "`${` has no `}`: put the value in single quotes if the `$` is meant";
