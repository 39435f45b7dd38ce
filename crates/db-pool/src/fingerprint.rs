//! Fingerprints: a common name for statements that differ only in their values.
//!
//! A text is divided into tokens by PostgreSQL's own rules. Literals and placeholders become `?`.
//! Repeated list items and rows of the same shape become one. Comments and line breaks are removed. The
//! rest names the statement in logs and statistics, and contains no value.

mod fold;
mod summary;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use db_wire::MAX_NOTED;

use crate::fingerprint::fold::{Piece, PieceKind, fold};
use crate::line_breaks::push_escaped;

/// The common name of all statements of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// The same number for all of them, in every process and release.
    pub(crate) hash: u64,
    /// The folded text on one line, shortened if it is very long.
    pub(crate) text: Arc<str>,
    /// The verb and the table, as in `SELECT users`.
    pub(crate) summary: Arc<str>,
}

impl Fingerprint {
    /// Reads a statement's text, or the beginning of a very long one.
    ///
    /// Takes some microseconds, once for each text of a connection and not each time it runs.
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
            PieceKind::Word => digest.update(piece.text.to_ascii_lowercase()),
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

/// How many bytes of a statement are read. Later bytes do not change the fingerprint.
pub(crate) const MAX_READ: usize = MAX_NOTED - 1;

/// How many bytes of the folded text are kept.
const MAX_TEXT: usize = 2_000;

#[cfg(test)]
mod tests;
