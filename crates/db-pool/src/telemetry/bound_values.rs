//! Bound values: the values that diesel binds to a statement, in diesel's own format. They are kept only if the
//! slow-query log shows them.

use std::fmt;

use crate::line_breaks::push_escaped;

/// The values of one statement on one line, shortened if they are long. `Debug` does not show them.
pub(crate) struct BoundValues(String);

impl BoundValues {
    /// The values, for a log that may contain values.
    pub(crate) fn revealed(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BoundValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoundValues(***)")
    }
}

/// The text of diesel's query as sent, and, if wanted, the values that its `Display` adds after the text. A raw
/// text has no values.
pub(crate) fn parted(
    query: &dyn fmt::Display,
    wants_values: bool,
) -> (String, Option<BoundValues>) {
    let mut parts = Parts {
        text: String::new(),
        values: None,
        wants_values,
    };
    // The writer fails as soon as no more is wanted, so an unwanted value is never written.
    let _ended = fmt::write(&mut parts, format_args!("{query}"));
    (parts.text, parts.values.map(BoundValues))
}

struct Parts {
    text: String,
    values: Option<String>,
    wants_values: bool,
}

impl fmt::Write for Parts {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        match &mut self.values {
            Some(values) => push_cut(values, piece),
            None if piece == BEFORE_VALUES && !self.wants_values => Err(fmt::Error),
            None if piece == BEFORE_VALUES => {
                self.values = Some(String::new());
                Ok(())
            }
            None => {
                self.text.push_str(piece);
                Ok(())
            }
        }
    }
}

/// Adds what fits, and fails if no more fits.
fn push_cut(values: &mut String, piece: &str) -> fmt::Result {
    let mut buffer = [0; 4];
    for char in piece.chars() {
        if values.len() >= MAX_VALUES {
            values.push('…');
            return Err(fmt::Error);
        }
        push_escaped(values, char.encode_utf8(&mut buffer));
    }
    Ok(())
}

/// How diesel separates a text from its values.
const BEFORE_VALUES: &str = " -- binds: ";

/// How many bytes of the values are kept: as many as of a text.
const MAX_VALUES: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::pg::Pg;
    use diesel::sql_types::{Integer, Text};

    /// An unwanted value is not even written into memory, and the text is the one that the wire will see.
    #[test]
    fn the_values_of_a_query_are_left_out() {
        let query = diesel::sql_query("select $1 -- binds: ").bind::<Text, _>("canary");
        let shown = diesel::debug_query::<Pg, _>(&query);
        assert!(shown.to_string().contains("canary"));
        let (text, values) = parted(&shown, false);
        assert_eq!(text, "select $1 -- binds: ");
        assert!(values.is_none());
        let (text, values) = parted(&shown, true);
        assert_eq!(text, "select $1 -- binds: ");
        assert!(!format!("{values:?}").contains("canary"));
        assert_eq!(values.unwrap().revealed(), "[\"canary\"]");
        assert!(parted(&"select 'canary'", true).1.is_none());
    }

    /// case R63: values are on one line, move no cursor and are shortened, whatever a type's own `Debug` writes.
    #[test]
    fn values_are_escaped_and_cut() {
        struct Raw;
        impl fmt::Display for Raw {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "select $1{BEFORE_VALUES}[a\r\n\x1b[31m\u{202e}]")
            }
        }
        let (text, values) = parted(&Raw, true);
        assert_eq!(text, "select $1");
        assert_eq!(
            values.unwrap().revealed(),
            "[a\\u{d}\\u{a}\\u{1b}[31m\\u{202e}]"
        );
        let long = "ü\n".repeat(1 << 20);
        let query = diesel::sql_query("select $1, $2").bind::<Text, _>(long);
        let query = query.bind::<Integer, _>(7);
        let (_text, values) = parted(&diesel::debug_query::<Pg, _>(&query), true);
        let values = values.unwrap();
        assert!(values.revealed().len() < MAX_VALUES + 20 && values.revealed().ends_with('…'));
    }
}
