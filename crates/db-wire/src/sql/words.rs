//! The words of a statement's text, as far as the wire reads them; nothing of this is a parser of SQL.

/// Words one after another: a run of letters, digits and underscores, or one other character by itself.
#[derive(Clone)]
pub(crate) struct Words<'s>(&'s [u8]);

impl<'s> Words<'s> {
    /// The words of a text without the comments at its start and the semicolons at its end.
    pub(crate) fn of(sql: &'s [u8]) -> Self {
        Self(trim(sql))
    }

    pub(crate) fn first(sql: &'s [u8]) -> &'s [u8] {
        Self::of(sql).next().unwrap_or_default()
    }

    /// Takes the next word if it is this one.
    pub(crate) fn eat(&mut self, name: &[u8]) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().is_some_and(|word| is(word, name));
        if found {
            *self = ahead;
        }
        found
    }
}

impl<'s> Iterator for Words<'s> {
    type Item = &'s [u8];

    /// A character that no word has is given as one by itself, so that it is not overlooked.
    fn next(&mut self) -> Option<&'s [u8]> {
        let is_apart = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let start = self.0.iter().position(|byte| !is_apart(byte))?;
        let rest = &self.0[start..];
        let length = rest
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
            .unwrap_or(rest.len())
            .max(1);
        let (word, rest) = rest.split_at(length);
        self.0 = rest;
        Some(word)
    }
}

/// The statements of a text, if every semicolon ends one; those within literals do not, which must not
/// matter to whoever asks.
pub(crate) fn pieces(sql: &[u8]) -> impl Iterator<Item = &[u8]> {
    sql.split(|byte| *byte == b';')
}

/// Without blanks, comments at the start, and the semicolon at the end.
pub(crate) fn trim(sql: &[u8]) -> &[u8] {
    let mut sql = sql.trim_ascii();
    loop {
        if let Some(rest) = sql.strip_prefix(b"--") {
            let end = rest.iter().position(|byte| *byte == b'\n');
            sql = end
                .map_or(&rest[rest.len()..], |end| &rest[end..])
                .trim_ascii_start();
        } else if let Some(rest) = sql.strip_prefix(b"/*") {
            match rest.windows(2).position(|pair| pair == b"*/") {
                Some(end) => sql = rest[end + 2..].trim_ascii_start(),
                None => return sql,
            }
        } else {
            break;
        }
    }
    while let Some(rest) = sql.strip_suffix(b";") {
        sql = rest.trim_ascii_end();
    }
    sql
}

pub(crate) fn is(word: &[u8], name: &[u8]) -> bool {
    word.eq_ignore_ascii_case(name)
}

pub(crate) fn is_any(word: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|name| is(word, name))
}

/// Where a lower-case text stands in another, whatever the case there.
pub(crate) fn find(sql: &[u8], lower: &[u8]) -> Option<usize> {
    sql.windows(lower.len())
        .position(|window| window.eq_ignore_ascii_case(lower))
}

pub(crate) fn contains(sql: &[u8], lower: &[u8]) -> bool {
    find(sql, lower).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_nothing_is_overlooked() {
        let words: Vec<_> = Words::of(b"/* a */ -- b\n begin, x_1/* c */;;").collect();
        assert_eq!(words[..3], [&b"begin"[..], b"x_1", b"/"]);
        assert_eq!(Words::first(b"/* never ends"), b"/");
        let mut words = Words::of(b"a b");
        assert!(words.eat(b"A") && !words.eat(b"c") && words.eat(b"b"));
        assert_eq!(trim(b" ; "), b"");
        assert_eq!(pieces(b"a;b").count(), 2);
    }
}
