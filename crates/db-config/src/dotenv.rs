//! Reads the file `.env` of the working directory, and leaves the process environment as it is.
//!
//! A value counts if python-dotenv, docker compose and node's dotenv read it alike. If they differ,
//! the variable has a reason instead of a value. The reason becomes a problem only when a setting asks
//! for that variable, so the lines of other programs never stop a service. `$NAME` and `${NAME}` are
//! substituted as dotenvy does, except that a variable that is not set is an error and not an empty
//! text.

mod assignment;
#[cfg(test)]
mod differential;
mod line;
mod substitution;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

pub(crate) use self::assignment::Assignment;
use self::line::Line;
use self::substitution::Known;
use crate::error::Problem;
use crate::origin::Origin;

/// Reads `<dir>/.env`, if it is a file. It does not search parent directories.
///
/// `process` has the variables of the process, which a `$` in the file may name.
pub(crate) fn read(
    dir: &Path,
    process: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Vec<Assignment> {
    let path = dir.join(".env");
    let mut problem = |message: String| {
        problems.push(Problem::new(".env", Origin::new(".env"), message));
        Vec::new()
    };
    // Python's virtual environments are often a directory of that name.
    if path.is_dir() {
        return Vec::new();
    }
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => return problem(format!("cannot be read: {}", error.kind())),
    };
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if utf16 || bytes.contains(&0) {
        return problem("is not UTF-8 but UTF-16, or no text at all; save it as UTF-8".to_owned());
    }
    if !bytes.contains(&b'\n') && bytes.trim_ascii_end().contains(&b'\r') {
        return problem("its lines end with only CR; save it with LF".to_owned());
    }
    parse(&bytes, process, warnings)
}

fn parse(
    bytes: &[u8],
    process: &BTreeMap<String, String>,
    warnings: &mut Vec<String>,
) -> Vec<Assignment> {
    let whole = std::str::from_utf8(bytes).is_ok();
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut assignments: Vec<Assignment> = Vec::new();
    let mut number = 1;
    while !rest.is_empty() {
        let line = Line::first_of(rest);
        let known = Known {
            process,
            earlier: &assignments,
        };
        let read: Vec<_> = line
            .names
            .iter()
            .map(|name| Assignment {
                name: (*name).to_owned(),
                value: match &line.value {
                    Ok(value) => value.read(&known).map_err(str::to_owned),
                    Err(reason) => Err((*reason).to_owned()),
                },
                line: number,
            })
            .collect();
        for mut assignment in read {
            if !whole && (assignment.value.as_ref()).is_ok_and(|value| value.contains('\u{fffd}')) {
                assignment.value = Err("is not UTF-8".to_owned());
            }
            let same = |earlier: &&Assignment| earlier.name == assignment.name;
            if let Some(earlier) = assignments.iter().find(same) {
                let message = format!("already set in line {}; remove one of them", earlier.line);
                assignment.value = Err(message);
            }
            assignments.push(assignment);
        }
        warnings.extend(hidden(&rest[..line.length], number));
        number += rest[..line.length].matches('\n').count();
        rest = &rest[line.length..];
    }
    assignments
}

/// Warns of each of this crate's variables that the lines of a quoted value seem to set.
fn hidden(text: &str, first: usize) -> Vec<String> {
    let inner = text.lines().enumerate().skip(1);
    inner
        .flat_map(|(at, line)| {
            let names = Line::first_of(line).names.into_iter();
            names
                .filter(|name| is_ours(name))
                .map(move |name| (at, name))
        })
        .map(|(at, name)| {
            let line = first + at;
            format!(
                ".env:{line}: the quote that opens in line {first} includes this line, so it does not set {name}"
            )
        })
        .collect()
}

/// Whether this crate reads a variable of this name, unless a setting gives the variable another name.
fn is_ours(name: &str) -> bool {
    name == "APP_ENV" || OURS.iter().any(|prefix| name.starts_with(prefix))
}

const OURS: [&str; 4] = ["APP_DB__", "DATABASE_URL", "POSTGRES_", "PG"];
