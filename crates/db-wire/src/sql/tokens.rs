//! The tokens of a text, divided as PostgreSQL's scanner divides it.
//!
//! Comments, even nested ones, every form of string, quoted names and dollar quotes are one token or none, so
//! nothing inside them changes a decision. A text that no server can divide, or that versions divide differently,
//! gives [`Token::Odd`], which ends the text.

/// A text, and how the server reads a backslash in its plain strings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql<'s> {
    pub(crate) text: &'s [u8],
    pub(crate) conforming: bool,
}

impl<'s> Sql<'s> {
    /// A text for a server whose `standard_conforming_strings` is on.
    #[cfg(test)]
    pub(crate) fn of(text: &'s [u8]) -> Self {
        Self {
            text,
            conforming: true,
        }
    }

    /// The same server's reading of a part of the text.
    pub(crate) fn part(self, text: &'s [u8]) -> Self {
        Self { text, ..self }
    }
}

/// One token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'s> {
    /// A name or keyword without quotes, as it is written.
    Word(&'s [u8]),
    /// The text between the quotes of a quoted name. A quote inside is still doubled.
    Quoted(&'s [u8]),
    /// A number.
    Value,
    /// A parameter, by its number.
    Parameter(u16),
    /// A string constant of any form.
    String(&'s [u8]),
    /// `::`
    Cast,
    /// Any other character.
    Symbol(u8),
    /// Something without an end, or something that versions of the server divide in different ways.
    Odd,
}

impl Token<'_> {
    /// Whether it is this word without quotes, in upper or lower case.
    pub(crate) fn is(self, word: &[u8]) -> bool {
        matches!(self, Self::Word(written) if written.eq_ignore_ascii_case(word))
    }

    pub(crate) fn is_any(self, words: &[&[u8]]) -> bool {
        words.iter().any(|word| self.is(word))
    }
}

/// The tokens of a text; comments and blanks are left out.
#[derive(Clone)]
pub(crate) struct Tokens<'s> {
    rest: &'s [u8],
    /// Whether a backslash in a plain string is an ordinary character: `standard_conforming_strings`.
    conforming: bool,
}

impl<'s> Tokens<'s> {
    pub(crate) fn of(sql: Sql<'s>) -> Self {
        Self {
            rest: sql.text,
            conforming: sql.conforming,
        }
    }

    /// What has not been divided yet.
    pub(crate) fn rest(&self) -> &'s [u8] {
        self.rest
    }

    /// Takes the next token if it is this word.
    pub(crate) fn eat(&mut self, word: &[u8]) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next().is_some_and(|token| token.is(word));
        if found {
            *self = ahead;
        }
        found
    }

    /// Takes the next token if it is this character.
    pub(crate) fn eat_symbol(&mut self, symbol: u8) -> bool {
        let mut ahead = self.clone();
        let found = ahead.next() == Some(Token::Symbol(symbol));
        if found {
            *self = ahead;
        }
        found
    }

    fn take(&mut self, count: usize) -> &'s [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Skips blanks and comments. `None` if a comment has no end.
    fn skip_blanks(&mut self) -> Option<()> {
        loop {
            let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
            let blanks = self.rest.iter().take_while(|byte| blank(byte)).count();
            self.take(blanks);
            if self.rest.starts_with(b"--") {
                let length = self.rest.iter().position(|byte| b"\r\n".contains(byte));
                self.take(length.unwrap_or(self.rest.len()));
            } else if self.rest.starts_with(b"/*") {
                self.take(comment(self.rest)?);
            } else {
                return Some(());
            }
        }
    }

    fn read(&mut self) -> Option<Token<'s>> {
        let first = *self.rest.first()?;
        let token = match first {
            b'"' => {
                let length = quoted(self.rest, b'"')?;
                let text = self.take(length);
                return Some(Token::Quoted(&text[1..length - 1]));
            }
            b'\'' => {
                let length = self.plain_literal()?;
                Token::String(self.take(length))
            }
            b'$' => match parameter(self.rest) {
                Some(length) => {
                    let digits = str::from_utf8(&self.take(length)[1..]).ok()?;
                    Token::Parameter(digits.parse().ok()?)
                }
                None => {
                    let length = dollar_literal(self.rest)?;
                    Token::String(self.take(length))
                }
            },
            b'0'..=b'9' => self.number()?,
            b'.' if self.rest.get(1).is_some_and(u8::is_ascii_digit) => self.number()?,
            _ if starts_name(first) => return self.word(),
            b':' if self.rest.starts_with(b"::") => {
                self.take(2);
                Token::Cast
            }
            b'\\' => return None,
            _ if first.is_ascii_graphic() => {
                self.take(1);
                Token::Symbol(first)
            }
            _ => return None,
        };
        Some(token)
    }

    /// A name, or a literal with a letter before its quote.
    fn word(&mut self) -> Option<Token<'s>> {
        let length = self.rest.iter().take_while(|byte| in_name(**byte)).count();
        let whole = self.rest;
        let word = self.take(length);
        let [letter] = word else {
            return Some(Token::Word(word));
        };
        let length = match (letter.to_ascii_lowercase(), self.rest) {
            (b'e', [b'\'', ..]) => escaped_literal(self.rest)?,
            (b'n', [b'\'', ..]) => self.plain_literal()?,
            (b'b' | b'x', [b'\'', ..]) => quoted(self.rest, b'\'')?,
            // A UESCAPE after it changes what it means, not where it ends.
            (b'u', [b'&', rest @ ..]) if rest.starts_with(b"'") => 1 + quoted(rest, b'\'')?,
            (b'u', [b'&', rest @ ..]) if rest.starts_with(b"\"") => {
                let length = 1 + quoted(rest, b'"')?;
                let name = self.take(length);
                return Some(Token::Quoted(&name[2..length - 1]));
            }
            _ => return Some(Token::Word(word)),
        };
        self.take(length);
        Some(Token::String(&whole[..1 + length]))
    }

    /// The length of a string without a letter before it.
    fn plain_literal(&self) -> Option<usize> {
        match self.conforming {
            true => quoted(self.rest, b'\''),
            false => escaped_literal(self.rest),
        }
    }

    /// A number. Versions of the server divide a number that runs into a name in different ways.
    fn number(&mut self) -> Option<Token<'s>> {
        let digits = |bytes: &[u8]| {
            bytes
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count()
        };
        self.take(digits(self.rest));
        if self.rest.first() == Some(&b'.') {
            self.take(1);
            self.take(digits(self.rest));
        }
        if let [b'e' | b'E', exponent @ ..] = self.rest {
            let sign = usize::from(matches!(exponent, [b'+' | b'-', ..]));
            let length = digits(&exponent[sign..]);
            if length > 0 {
                self.take(1 + sign + length);
            }
        }
        let ends = !self.rest.first().is_some_and(|byte| in_name(*byte));
        ends.then_some(Token::Value)
    }
}

impl<'s> Iterator for Tokens<'s> {
    type Item = Token<'s>;

    fn next(&mut self) -> Option<Token<'s>> {
        let token = self.skip_blanks().and_then(|()| {
            if self.rest.is_empty() {
                return Some(None);
            }
            self.read().map(Some)
        });
        token.unwrap_or_else(|| {
            self.rest = &[];
            Some(Token::Odd)
        })
    }
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn in_name(byte: u8) -> bool {
    starts_name(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// The length of a comment, which may hold others.
fn comment(sql: &[u8]) -> Option<usize> {
    let mut depth = 0_u32;
    let mut place = 0;
    loop {
        match sql.get(place..place + 2)? {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                place += 1;
                continue;
            }
        }
        place += 2;
        if depth == 0 {
            return Some(place);
        }
    }
}

/// The length of the text between two quotes. A doubled quote belongs to the text.
fn quoted(sql: &[u8], quote: u8) -> Option<usize> {
    let mut place = 1;
    loop {
        place += sql.get(place..)?.iter().position(|byte| *byte == quote)? + 1;
        if sql.get(place) != Some(&quote) {
            return Some(place);
        }
        place += 1;
    }
}

/// The length of a literal in which a backslash escapes the next character.
fn escaped_literal(sql: &[u8]) -> Option<usize> {
    let mut place = 1;
    loop {
        match (sql.get(place)?, sql.get(place + 1)) {
            (b'\\', _) | (b'\'', Some(b'\'')) => place += 2,
            (b'\'', _) => return Some(place + 1),
            _ => place += 1,
        }
    }
}

fn parameter(sql: &[u8]) -> Option<usize> {
    let digits = sql[1..].iter().take_while(|byte| byte.is_ascii_digit());
    let length = 1 + digits.count();
    let ends = !sql.get(length).is_some_and(|byte| in_name(*byte));
    (length > 1 && ends).then_some(length)
}

/// `$tag$ .. $tag$`
fn dollar_literal(sql: &[u8]) -> Option<usize> {
    let length = sql[1..].iter().position(|byte| *byte == b'$')? + 2;
    let (tag, rest) = sql.split_at(length);
    let name = &tag[1..length - 1];
    let is_tag =
        name.iter().all(|byte| in_name(*byte)) && !name.first().is_some_and(u8::is_ascii_digit);
    let end = rest.windows(length).position(|window| window == tag)?;
    is_tag.then_some(2 * length + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sql: &str) -> String {
        let show = |token| match token {
            Token::Word(word) => String::from_utf8_lossy(word).into_owned(),
            Token::Quoted(name) => format!("[{}]", String::from_utf8_lossy(name)),
            Token::Value | Token::Parameter(_) => "?".to_owned(),
            Token::String(_) => "'".to_owned(),
            Token::Cast => "::".to_owned(),
            Token::Symbol(symbol) => char::from(symbol).to_string(),
            Token::Odd => "ODD".to_owned(),
        };
        Tokens::of(Sql::of(sql.as_bytes()))
            .map(show)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_text_is_divided_as_the_server_divides_it() {
        for (sql, tokens) in [
            ("", ""),
            ("select a_1$x,b", "select a_1$x , b"),
            ("a -- f(\nb /* f( /* g( */ '*/ c", "a b c"),
            ("'\\' x", "' x"),
            ("U&'a\\0041' UESCAPE '!' x", "' UESCAPE ' x"),
            ("u&\"a\" x", "[a] x"),
            ("a--x\rb", "a b"),
            ("\"a\"\"b\" . \"c\"(", "[a\"\"b] . [c] ("),
            ("'it''s (' x", "' x"),
            ("E'a\\' f(' || e'\\\\' b", "' | | ' b"),
            ("B'01' x'1F' N'a' nn'a'", "' ' ' nn '"),
            ("$$ f( $a$ $$ b $a$ $$ ' $b$ $a$ c", "' b ' c"),
            ("$1::int8 + 1.5e-3 - .5 * 2.", "? :: int8 + ? - ? * ?"),
            ("1e5 1 e a[1:2]", "? ? e a [ ? : ? ]"),
            ("é(", "é ("),
            ("'\\d+'", "'"),
        ] {
            assert_eq!(shown(sql), tokens, "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_odd_and_the_end() {
        for sql in [
            "'never ends",
            "/* /* never */",
            "\"never",
            "$a$ never $b$",
            "'a\\'' x",
            "U&'a",
            "1into x",
            "0x1F",
            "$1x",
            "$1$ x $1$",
            "\\x",
            "a \u{1} b",
        ] {
            assert!(shown(sql).ends_with("ODD"), "{sql}: {}", shown(sql));
        }
    }

    #[test]
    fn a_backslash_is_read_as_the_server_is_set() {
        let text = b"'a\\' , b ' c".as_slice();
        for (conforming, words) in [(true, 1), (false, 1)] {
            let tokens = Tokens::of(Sql { text, conforming });
            let found = tokens.filter(|token| matches!(token, Token::Word(_)));
            assert_eq!(found.count(), words, "{conforming}");
        }
        let text = b"'a\\''; COMMIT; --'".as_slice();
        let commits =
            |conforming| Tokens::of(Sql { text, conforming }).any(|token| token.is(b"commit"));
        assert!(!commits(true) && commits(false));
    }
}
