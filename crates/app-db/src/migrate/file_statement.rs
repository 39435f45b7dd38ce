//! The statements of a file, for tools that look at migrations without running them.

use crate::migrate::statements::split;
use crate::migrate::words::Words;

/// One statement of a file, as the migrator would send it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStatement<'a> {
    /// The text from its first word, without the semicolon.
    pub sql: &'a str,
    /// The offset of its first byte in the file.
    pub offset: usize,
    /// Its words: names, keywords, constants and signs as written, without blanks and comments.
    pub words: Vec<&'a str>,
}

impl<'a> FileStatement<'a> {
    /// The statements of `text`, except those with only comments and blanks.
    #[must_use]
    pub fn split(text: &'a str) -> Vec<Self> {
        let statements = split(text).into_iter().map(|statement| Self {
            sql: statement.sql,
            offset: statement.offset,
            words: Words::of(statement.sql).into_texts(),
        });
        statements.collect()
    }
}
