//! Summaries: the verb and the table of a statement, in few words and with few different values.

use crate::fingerprint::fold::{Piece, PieceKind};
use crate::line_breaks::push_escaped;

/// The summary in the form that `db.query.summary` requires: `SELECT users`, `INSERT app.users`,
/// `COMMIT`.
pub(super) fn of(pieces: &[Piece<'_>]) -> String {
    let outside: Vec<_> = outside_brackets(pieces).collect();
    let words = || {
        outside
            .iter()
            .copied()
            .filter(|at| pieces[*at].kind == PieceKind::Word)
    };
    let is = |at: usize, any: &[&str]| {
        any.iter()
            .any(|word| pieces[at].text.eq_ignore_ascii_case(word))
    };
    let verb = match words().next() {
        Some(first) if is(first, &["with"]) => words().find(|at| is(*at, VERBS)).or(Some(first)),
        first => first,
    };
    let mut summary = String::new();
    let Some(verb) = verb else {
        return summary;
    };
    push_escaped(&mut summary, &pieces[verb].text.to_ascii_uppercase());
    let before_table = match is(verb, &["update"]) {
        true => Some(verb),
        false => words().find(|at| *at > verb && is(*at, &["from", "into", "table", "join"])),
    };
    if let Some(at) = before_table {
        let name = name(&pieces[at + 1..]);
        if !name.is_empty() {
            summary.push(' ');
            push_escaped(&mut summary, &name);
        }
    }
    if let Some((end, _)) = summary.char_indices().nth(MAX_SUMMARY) {
        summary.truncate(end);
    }
    summary
}

fn outside_brackets(pieces: &[Piece<'_>]) -> impl Iterator<Item = usize> {
    let mut depth = 0_usize;
    pieces.iter().enumerate().filter_map(move |(at, piece)| {
        match piece.kind {
            PieceKind::Open => depth += 1,
            PieceKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0).then_some(at)
    })
}

/// A table's name with its schema, without quotes.
fn name(pieces: &[Piece<'_>]) -> String {
    let is_modifier = |piece: &&Piece<'_>| {
        piece.kind == PieceKind::Word
            && ["only", "if", "not", "exists"]
                .iter()
                .any(|word| piece.text.eq_ignore_ascii_case(word))
    };
    let mut name = String::new();
    let mut expects_word = true;
    for piece in pieces.iter().skip_while(is_modifier) {
        match piece.kind {
            PieceKind::Word | PieceKind::QuotedName if expects_word => {
                name.push_str(piece.text.trim_matches('"'));
            }
            PieceKind::Joint if piece.text == "." && !expects_word => name.push('.'),
            _ => break,
        }
        expects_word = !expects_word;
    }
    name
}

const VERBS: &[&str] = &["select", "insert", "update", "delete", "merge"];

/// How many characters a summary has at most; OpenTelemetry allows 255.
const MAX_SUMMARY: usize = 100;
