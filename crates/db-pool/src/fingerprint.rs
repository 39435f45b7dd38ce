//! Fingerprints: what statements have in common that differ in nothing but their values.
//!
//! A text is cut into tokens by PostgreSQL's own rules. Literals and placeholders become `?`, lists and
//! rows of the same shape one of them; comments and line breaks go. What is left names the statement in
//! logs and statistics, and holds no value.

mod fold;
mod summary;

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::fold::{Kind, Piece, fold};
use db_wire::MAX_NOTED;

/// What stands for every statement of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// The same for all of them, in every process and release.
    pub(crate) hash: u64,
    /// The folded text on one line, cut where it is very long.
    pub(crate) text: Arc<str>,
    /// What it does and to which table, as in `SELECT users`.
    pub(crate) summary: Arc<str>,
}

impl Fingerprint {
    /// Reads a statement's text; of a very long one its beginning alone.
    ///
    /// Takes some microseconds: once for each text of a connection, not for each time it runs.
    pub(crate) fn of(sql: &[u8]) -> Self {
        let (sql, is_cut) = match sql.get(..MAX_READ) {
            Some(beginning) if sql.len() > MAX_READ => (beginning, true),
            _ => (sql, false),
        };
        let sql = String::from_utf8_lossy(sql);
        let (pieces, is_cut) = fold(&sql, is_cut);
        Self {
            hash: hash(&pieces),
            text: one_line(&pieces, is_cut).into(),
            summary: summary::of(&pieces).into(),
        }
    }

    /// Sixteen hexadecimal digits.
    pub(crate) fn id(&self) -> String {
        format!("{:016x}", self.hash)
    }
}

/// Neither white space nor the case of words that the server folds makes a difference.
fn hash(pieces: &[Piece<'_>]) -> u64 {
    let mut digest = Sha256::new();
    for piece in pieces {
        match piece.kind {
            Kind::Word => digest.update(piece.text.to_ascii_lowercase()),
            _ => digest.update(piece.text),
        }
        digest.update([0]);
    }
    let digest = digest.finalize();
    digest
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

fn one_line(pieces: &[Piece<'_>], is_cut: bool) -> String {
    let mut text = String::new();
    let mut before: Option<&Piece<'_>> = None;
    for piece in pieces {
        if before.is_some_and(|before| before.kind.parts_from(piece)) {
            text.push(' ');
        }
        push_escaped(&mut text, piece.text);
        before = Some(piece);
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            text.push('…');
            return text;
        }
    }
    if is_cut {
        text.push_str(" …");
    }
    text
}

/// Whether a character could end a line of a log, move the cursor of who reads it or turn its text around.
#[must_use]
pub fn breaks_a_line(char: char) -> bool {
    let is_invisible = matches!(
        char,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    );
    is_invisible || char.is_control()
}

/// Escapes what breaks a line.
pub(crate) fn push_escaped(text: &mut String, piece: &str) {
    for char in piece.chars() {
        match breaks_a_line(char) {
            true => {
                // Writing to a `String` does not fail.
                let _written = write!(text, "{}", char.escape_unicode());
            }
            false => text.push(char),
        }
    }
}

/// How many bytes of a statement are read. What lies beyond makes no difference to its fingerprint.
pub(crate) const MAX_READ: usize = MAX_NOTED - 1;

/// How many bytes of the folded text are kept.
const MAX_TEXT: usize = 2_000;

#[cfg(test)]
mod tests;
