//! Reads the file `.env` of the working directory, and leaves the process environment as it is.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Problem;
use crate::origin::Origin;

/// One variable of the file.
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) line: usize,
}

/// Reads `<dir>/.env`, if it exists. It does not search parent directories.
pub(crate) fn read(dir: &Path, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    match std::fs::read_to_string(dir.join(".env")) {
        Ok(text) => parse(&text, problems),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let message = format!("cannot be read: {}", error.kind());
            problems.push(Problem::new(".env", Origin::new(".env"), message));
            Vec::new()
        }
    }
}

/// Whether this crate reads the variable.
pub(crate) fn is_ours(name: &str) -> bool {
    name == "APP_ENV" || OURS.iter().any(|prefix| name.starts_with(prefix))
}

fn parse(text: &str, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let text = text.trim_start_matches('\u{feff}');
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let mut variables = Vec::new();
    let mut seen = BTreeMap::new();
    while let Some((number, first)) = lines.next() {
        let mut entry = format!("{first}\n");
        let mut read = one(&entry);
        // A quoted value may span several lines.
        while matches!(read, Read::Unfinished) {
            let Some((_, next)) = lines.next() else { break };
            entry.push_str(next);
            entry.push('\n');
            read = one(&entry);
        }
        let origin = Origin::new(format!(".env:{number}"));
        let (name, value) = match read {
            Read::Variable(name, value) => (name, value),
            Read::Nothing => continue,
            Read::Unfinished => {
                problems.push(Problem::new(".env", origin, "a quote is not closed"));
                continue;
            }
            Read::Broken => {
                let message = "expected NAME=value; a value with blanks, quotes or backslashes \
                               needs single quotes around it";
                problems.push(Problem::new(".env", origin, message));
                continue;
            }
        };
        let ours =
            is_ours(&name) || entry.contains("postgres://") || entry.contains("postgresql://");
        if has_substitution(&entry) {
            // dotenvy would turn `u:pa$word@h` into `u:pa@h`. Variables of others are ignored instead.
            if ours {
                let message = "a `$` in .env begins a substitution, which would cut the value: put \
                               the value in single quotes";
                problems.push(Problem::new(name, origin, message));
            }
            continue;
        }
        if ours && let Some(earlier) = seen.insert(name.clone(), number) {
            let message = format!("already set in line {earlier}; remove one of them");
            problems.push(Problem::new(name, origin, message));
            continue;
        }
        variables.push(Assignment {
            name,
            value,
            line: number,
        });
    }
    variables
}

enum Read {
    Nothing,
    Variable(String, String),
    Unfinished,
    Broken,
}

/// Reads an entry with dotenvy. Its errors are dropped, because they quote the line.
fn one(entry: &str) -> Read {
    match dotenvy::from_read_iter(entry.as_bytes()).next() {
        Some(Ok((name, value))) => Read::Variable(name, value),
        Some(Err(dotenvy::Error::LineParse(line, position)))
            if line == entry && position == entry.len() =>
        {
            Read::Unfinished
        }
        Some(Err(_)) => Read::Broken,
        None => Read::Nothing,
    }
}

/// Whether dotenvy would substitute a `$`: one that is neither escaped nor in single quotes.
fn has_substitution(entry: &str) -> bool {
    let value = entry.split_once('=').map_or("", |(_, value)| value);
    let (mut single, mut double, mut blank) = (false, false, true);
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' if !double => single = !single,
            '"' if !single => double = !double,
            '\\' if !single => drop(chars.next()),
            '#' if blank && !single && !double => return false,
            '$' if !single => return true,
            _ => {}
        }
        blank = c.is_whitespace();
    }
    false
}

const OURS: [&str; 4] = ["APP_DB_", "DATABASE_URL", "POSTGRES_", "PG"];

#[cfg(test)]
mod tests {
    use super::*;

    fn read_ok(text: &str) -> Vec<(String, String, usize)> {
        let mut problems = Vec::new();
        let lines = parse(text, &mut problems);
        assert_eq!(problems, []);
        lines
            .into_iter()
            .map(|l| (l.name, l.value, l.line))
            .collect()
    }

    fn problems_of(text: &str) -> String {
        let mut problems = Vec::new();
        parse(text, &mut problems);
        crate::ConfigError::check(problems).unwrap_err().to_string()
    }

    #[test]
    fn lines_keep_their_numbers_over_comments_and_quoted_line_breaks() {
        let text = "\u{feff}# first\r\n\r\nexport A=1 # why\r\nB='x\ny'\nC=\"q\"  ";
        assert_eq!(
            read_ok(text),
            [
                ("A".into(), "1".into(), 3),
                ("B".into(), "x\ny".into(), 4),
                ("C".into(), "q".into(), 6)
            ]
        );
    }

    /// A `$` would cut the password short; single quotes keep it.
    #[test]
    fn an_unquoted_dollar_in_a_url_or_password_is_an_error() {
        for line in [
            "DATABASE_URL=postgres://u:pa$word@h/d",
            "DATABASE_URL=\"postgres://u:pa$word@h/d\"",
            "PROVIDER=postgres://u:pa${word}@h/d",
            "PGPASSWORD=pa$word",
        ] {
            let error = problems_of(line);
            assert!(
                error.contains("single quotes") && error.contains(".env:1"),
                "{error}"
            );
            assert!(!error.contains("pa$") && !error.contains("u:"), "{error}");
        }
        for line in [
            "PGPASSWORD='pa$word'",
            "PGPASSWORD=pa\\$word",
            "PGPASSWORD=\"pa\\$word\"",
        ] {
            assert_eq!(read_ok(line)[0].1, "pa$word", "{line}");
        }
        assert_eq!(read_ok("PGPASSWORD=x # costs $5")[0].1, "x");
        assert_eq!(
            read_ok("OTHER=$HOME/x"),
            [],
            "what is not ours is left alone"
        );
    }

    /// req 4.47: a broken line is not quoted in the error.
    #[test]
    fn a_broken_line_is_named_by_its_number_and_not_quoted() {
        for text in [
            "A=1\nDATABASE_URL=a canary\n",
            "A=1\ncanary\n",
            "A=1\nB='canary\n",
        ] {
            let error = problems_of(text);
            assert!(
                error.contains(".env:2") && !error.contains("canary"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_variable_of_ours_set_twice_is_an_error() {
        let error = problems_of("PGUSER=a\nPGUSER=b");
        assert_eq!(
            error,
            "PGUSER (.env:2): already set in line 1; remove one of them"
        );
    }
}
