//! Characters that a log must escape.

use std::fmt::Write;

/// Whether a character could end a line of a log, move the reader's cursor or reverse the direction of the
/// text.
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

/// The text, with escapes for all characters that break a line.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    push_escaped(&mut line, text);
    line
}

/// Appends a piece, and escapes the characters that break a line.
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
