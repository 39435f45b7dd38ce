//! The statements of a file, as the migrator divides it.

use app_db::FileStatement;

/// One statement with its words.
pub(crate) struct Outline<'a> {
    pub(crate) offset: usize,
    pub(crate) end: usize,
    words: Vec<&'a str>,
}

/// The statements of `text`.
pub(crate) fn outline(text: &str) -> Vec<Outline<'_>> {
    let statements = FileStatement::split(text).into_iter();
    statements
        .map(|statement| Outline {
            offset: statement.offset,
            end: statement.offset + statement.sql.len(),
            words: statement.words,
        })
        .collect()
}

impl<'a> Outline<'a> {
    /// Whether it begins with these words, separated by blanks.
    pub(crate) fn begins(&self, words: &str) -> bool {
        let expected = words.split(' ');
        let count = expected.clone().count();
        self.words.len() >= count
            && expected
                .zip(&self.words)
                .all(|(expected, word)| word.eq_ignore_ascii_case(expected))
    }

    /// Where these words stand side by side for the first time.
    pub(crate) fn position(&self, words: &str) -> Option<usize> {
        let expected: Vec<&str> = words.split(' ').collect();
        let same = |window: &[&str]| {
            let mut pairs = window.iter().zip(&expected);
            pairs.all(|(word, expected)| word.eq_ignore_ascii_case(expected))
        };
        self.words.windows(expected.len()).position(same)
    }

    pub(crate) fn has(&self, words: &str) -> bool {
        self.position(words).is_some()
    }

    pub(crate) fn words(&self) -> &[&'a str] {
        &self.words
    }

    /// The name that begins at a word, without schema and quotes, folded as the server folds it.
    pub(crate) fn name_at(&self, mut at: usize) -> Option<String> {
        let mut part = *self.words.get(at)?;
        while self.words.get(at + 1) == Some(&".") {
            at += 2;
            part = self.words.get(at)?;
        }
        Some(folded(part))
    }
}

/// A name as the server reads it.
pub(crate) fn folded(name: &str) -> String {
    match name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// The tables that a file creates, by name: nobody else uses them yet.
pub(crate) fn created_tables(statements: &[Outline<'_>]) -> Vec<String> {
    let created = statements.iter().filter_map(|statement| {
        let table = statement
            .begins("create")
            .then(|| statement.position("table"))??;
        let mut at = table + 1;
        if statement
            .words
            .get(at..at + 3)
            .is_some_and(|words| words.join(" ").eq_ignore_ascii_case("if not exists"))
        {
            at += 3;
        }
        statement.name_at(at)
    });
    created.collect()
}
