//! The scripts of the corpus.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failed::Failed;
use crate::form::Form;
use crate::split::{Script, Statement, Turn, split};

/// One script of the corpus.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) script: Script,
}

impl File {
    /// Its statements as a form runs them. If texts may be kept, queries run twice with the same text, and the
    /// last ones run a third time for the next holder. A wrongly kept answer shows then.
    pub(crate) fn statements(&self, form: Form) -> Vec<Statement> {
        let once = &self.script.statements;
        if form == Form::Simple {
            return once.clone();
        }
        let in_turn = |statement: &Statement, turn| Statement {
            turn,
            ..statement.clone()
        };
        let twice = |statement: &Statement| {
            let again = is_query(&statement.sql).then(|| in_turn(statement, Turn::Again));
            std::iter::once(statement.clone()).chain(again)
        };
        let queries: Vec<_> = once.iter().filter(|one| is_query(&one.sql)).collect();
        let last = queries.iter().skip(queries.len().saturating_sub(ENCORE));
        let last = last.map(|statement| in_turn(statement, Turn::NextBorrower));
        once.iter().flat_map(twice).chain(last).collect()
    }
}

/// The corpus's folder, if it has been fetched.
pub(crate) fn folder() -> Result<PathBuf, Failed> {
    let folder = Path::new(FOLDER);
    if folder.join("transactions.sql").exists() {
        return Ok(folder.to_owned());
    }
    Err(Failed::new(format!(
        "PostgreSQL's regression scripts are not in {FOLDER}; `just setup` fetches them"
    )))
}

/// Reads the named scripts, or all.
pub(crate) fn load(folder: &Path, names: &[String]) -> Result<Vec<File>, Failed> {
    let mut names = names.to_vec();
    if names.is_empty() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_script = path.extension().is_some_and(|extension| extension == "sql");
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            names.extend(stem.filter(|_| is_script).map(str::to_owned));
        }
        names.sort();
    }
    names.into_iter().map(|name| read(folder, name)).collect()
}

/// Reads one script.
pub(crate) fn read(folder: &Path, name: String) -> Result<File, Failed> {
    let bytes = fs::read(folder.join(format!("{name}.sql")))
        .map_err(|error| Failed::new(format!("{name}.sql: {error}")))?;
    let script = split(&String::from_utf8_lossy(&bytes));
    Ok(File { name, script })
}

fn is_query(sql: &str) -> bool {
    let first = first_word(sql);
    matches!(first.as_str(), "select" | "values" | "table" | "show")
}

/// Whether a statement returns rows, as far as its text shows.
pub(crate) fn returns_rows(sql: &str) -> bool {
    let first = first_word(sql);
    let queries = [
        "select", "values", "table", "show", "with", "explain", "fetch", "execute", "call", "(",
    ];
    queries.contains(&first.as_str()) || sql.to_ascii_lowercase().contains("returning")
}

fn first_word(sql: &str) -> String {
    if sql.starts_with('(') {
        return "(".to_owned();
    }
    let word = sql.chars().take_while(char::is_ascii_alphabetic);
    word.collect::<String>().to_ascii_lowercase()
}

/// How many queries the next holder runs.
const ENCORE: usize = 100;
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/regress/8.8");
