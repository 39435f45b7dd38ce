//! What opens a transaction: BEGIN, and settings that hold for it alone.

use crate::sql::boundary::Begin;
use crate::sql::words::{Words, is_any, pieces, trim};

/// A BEGIN that the wire may hold back, with the settings that follow it in the same text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) sql: Box<[u8]>,
    pub(crate) begin: Begin,
    /// One `SET LOCAL` each: the extended protocol takes one command at a time.
    pub(crate) settings: Vec<Box<[u8]>>,
}

impl Opening {
    /// Reads `BEGIN ..` or `BEGIN ..; SET LOCAL ..; SET LOCAL ..` that is nothing else besides.
    pub(crate) fn parse(sql: &[u8]) -> Option<Self> {
        let mut pieces = pieces(trim(sql)).map(trim);
        let first = pieces.next()?;
        let begin = Begin::parse(first)?;
        let setting = |piece: &[u8]| is_timeout(piece).then(|| Box::from(piece));
        Some(Self {
            sql: first.into(),
            begin,
            settings: pieces.map(setting).collect::<Option<_>>()?,
        })
    }
}

/// `SET LOCAL` of one of the two timeouts to a number of milliseconds.
fn is_timeout(sql: &[u8]) -> bool {
    let mut words = Words::of(sql);
    let names: &[&[u8]] = &[b"statement_timeout", b"lock_timeout"];
    words.eat(b"SET")
        && words.eat(b"LOCAL")
        && words.next().is_some_and(|name| is_any(name, names))
        && words.eat(b"=")
        && words
            .next()
            .is_some_and(|value| value.iter().all(u8::is_ascii_digit))
        && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// case R27
    #[test]
    fn a_begin_takes_its_own_timeouts_along_and_nothing_else() {
        let opening = Opening::parse(
            b"BEGIN READ ONLY; SET LOCAL statement_timeout = 250; set local lock_timeout = 5;",
        )
        .unwrap();
        assert!(opening.begin.read_only);
        assert_eq!(&*opening.sql, b"BEGIN READ ONLY");
        let settings: [&[u8]; 2] = [
            b"SET LOCAL statement_timeout = 250",
            b"set local lock_timeout = 5",
        ];
        assert!(opening.settings.iter().map(|sql| &**sql).eq(settings));
        let plain = Opening::parse(b" begin ;").unwrap();
        assert_eq!((&*plain.sql, plain.settings.len()), (&b"begin"[..], 0));
        for other in [
            &b"BEGIN; SELECT 1"[..],
            b"BEGIN; SET LOCAL work_mem = 5",
            b"BEGIN; SET statement_timeout = 5",
            b"BEGIN; SET LOCAL statement_timeout = '5s'",
            b"BEGIN; SET LOCAL lock_timeout = 5, 6",
            b"BEGIN;; SET LOCAL lock_timeout = 5",
            b"SET LOCAL lock_timeout = 5",
            b"",
        ] {
            assert_eq!(Opening::parse(other), None, "{}", other.escape_ascii());
        }
    }
}
