//! The tokens of a migration's SQL, as psql and the server read them.

use std::ops::Range;

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

/// One token, with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlacedToken {
    pub(super) kind: TokenKind,
    pub(super) place: Range<usize>,
}

/// All tokens of `sql`. Together they cover every byte of it.
///
/// The lexer ends an `E'..'` string at its first part, although the server reads a part on the next line with
/// the same escapes. Nor does the lexer know psql's commands, which reach to the end of the line. This
/// function handles both.
pub(super) fn tokens(sql: &str) -> Vec<PlacedToken> {
    let mut all: Vec<PlacedToken> = Vec::new();
    let mut offset = 0;
    while offset < sql.len() {
        for token in tokenize(&sql[offset..]) {
            let (start, end) = (offset, offset + token.len as usize);
            let longer = match token.kind {
                TokenKind::Literal {
                    kind: LiteralKind::Str { .. },
                } if continues_escapes(sql, &all) => Some((ESCAPED, escaped_end(sql, start))),
                TokenKind::Unknown if &sql[start..end] == "\\" => {
                    Some((TokenKind::Unknown, line_end(sql, start)))
                }
                _ => None,
            };
            let (kind, end) = longer.unwrap_or((token.kind, end));
            all.push(PlacedToken {
                kind,
                place: start..end,
            });
            offset = end;
            if longer.is_some() {
                // The lexer has to start again where this token really ends.
                break;
            }
        }
    }
    all
}

/// Whether the next string continues the `E'..'` string before it: only blanks and comments with a line break
/// are between them.
fn continues_escapes(sql: &str, before: &[PlacedToken]) -> bool {
    let mut line_break = false;
    for token in before.iter().rev() {
        match token.kind {
            TokenKind::Whitespace | TokenKind::LineComment => {
                line_break |= sql[token.place.clone()].contains(['\n', '\r']);
            }
            TokenKind::Literal {
                kind: LiteralKind::EscStr { .. },
            } => return line_break,
            _ => return false,
        }
    }
    false
}

/// The end of the string that starts at `start`, read with escapes.
fn escaped_end(sql: &str, start: usize) -> usize {
    // `E` makes the lexer read this part as it reads the first one.
    let part = format!("E{}", &sql[start..]);
    let length = tokenize(&part)
        .next()
        .map_or(part.len(), |token| token.len as usize);
    start + length - 1
}

fn line_end(sql: &str, start: usize) -> usize {
    sql[start..]
        .find(['\n', '\r'])
        .map_or(sql.len(), |length| start + length)
}

const ESCAPED: TokenKind = TokenKind::Literal {
    kind: LiteralKind::EscStr { terminated: true },
};
