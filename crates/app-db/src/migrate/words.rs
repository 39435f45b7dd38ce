//! The words of one statement, read from the left.

use squawk_lexer::TokenKind;

use crate::migrate::tokens::tokens;

/// The rest of a statement, without blanks and comments.
#[derive(Clone, Debug, Default)]
pub(super) struct Words<'a> {
    words: Vec<Word<'a>>,
    at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Word<'a> {
    text: &'a str,
    kind: WordKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WordKind {
    /// A name or a keyword, not in quotes.
    Plain,
    /// A name in quotes.
    Quoted,
    Literal,
    Sign,
}

impl<'a> Words<'a> {
    pub(super) fn of(sql: &'a str) -> Self {
        let words = tokens(sql).into_iter().filter_map(|token| {
            let kind = match token.kind {
                TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {
                    return None;
                }
                TokenKind::Ident => WordKind::Plain,
                TokenKind::QuotedIdent { .. } => WordKind::Quoted,
                TokenKind::Literal { .. } => WordKind::Literal,
                _ => WordKind::Sign,
            };
            let text = &sql[token.place];
            Some(Word { text, kind })
        });
        Self {
            words: words.collect(),
            at: 0,
        }
    }

    /// The words of the rest.
    pub(super) fn into_texts(self) -> Vec<&'a str> {
        self.words
            .into_iter()
            .skip(self.at)
            .map(|word| word.text)
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.words.len()
    }

    /// Whether the next word is this keyword or sign.
    pub(super) fn is(&self, word: &str) -> bool {
        self.words.get(self.at).is_some_and(|next| next.is(word))
    }

    /// Steps over `words`, if they are the next ones. Several are separated by blanks.
    pub(super) fn take(&mut self, words: &str) -> bool {
        let before = self.at;
        for word in words.split(' ') {
            if !self.is(word) {
                self.at = before;
                return false;
            }
            self.at += 1;
        }
        true
    }

    /// Steps over the first of `choices` that comes next, and returns it.
    pub(super) fn take_any<'c>(&mut self, choices: &[&'c str]) -> Option<&'c str> {
        choices.iter().copied().find(|words| self.take(words))
    }

    /// Steps over any one word.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at)?;
        self.at += 1;
        Some(word.text)
    }

    /// Steps over a name, with its schema if it has one, and returns it as written.
    pub(super) fn name(&mut self) -> Option<String> {
        let mut name = self.part()?.to_owned();
        while self.is(".") {
            self.at += 1;
            name = format!("{name}.{}", self.part()?);
        }
        Some(name)
    }

    /// Steps over names that commas separate; `ONLY` and `*` around a name do not count.
    pub(super) fn names(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            self.take("only");
            names.extend(self.name());
            self.take("*");
            if !self.take(",") {
                return names;
            }
        }
    }

    /// Steps over everything up to and including the next `word` outside parentheses. Without such a word,
    /// it steps over nothing.
    pub(super) fn skip_past(&mut self, word: &str) -> bool {
        let mut depth = 0_usize;
        for (index, next) in self.words.iter().enumerate().skip(self.at) {
            if depth == 0 && next.is(word) {
                self.at = index + 1;
                return true;
            }
            depth = next.depth_after(depth);
        }
        false
    }

    /// Steps over a group in parentheses, and returns its contents. Empty if there is no group.
    pub(super) fn group(&mut self) -> Self {
        if !self.is("(") {
            return Self::default();
        }
        let start = self.at + 1;
        let mut depth = 0;
        while let Some(word) = self.words.get(self.at) {
            depth = word.depth_after(depth);
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
        let end = self.at.saturating_sub(1).max(start);
        Self {
            words: self.words[start.min(self.words.len())..end.min(self.words.len())].to_vec(),
            at: 0,
        }
    }

    /// The parts of the rest that commas outside parentheses separate.
    pub(super) fn split(&self) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        let mut depth = 0;
        for word in &self.words[self.at.min(self.words.len())..] {
            if depth == 0 && word.is(",") {
                parts.push(Self::default());
                continue;
            }
            depth = word.depth_after(depth);
            if let Some(part) = parts.last_mut() {
                part.words.push(*word);
            }
        }
        parts
    }

    /// Whether the rest has this keyword, inside parentheses too.
    pub(super) fn has(&self, word: &str) -> bool {
        self.rest().iter().any(|next| next.is(word))
    }

    /// The names in the rest that stand before a parenthesis, such as a function's, in lower case.
    pub(super) fn called(&self) -> Vec<String> {
        let calls = self.rest().windows(2).filter(|pair| {
            matches!(pair[0].kind, WordKind::Plain | WordKind::Quoted) && pair[1].is("(")
        });
        calls
            .map(|pair| pair[0].text.trim_matches('"').to_ascii_lowercase())
            .collect()
    }

    /// The rest as text, with one blank between words.
    pub(super) fn text(&self) -> String {
        let words: Vec<&str> = self.rest().iter().map(|word| word.text).collect();
        words.join(" ")
    }

    fn rest(&self) -> &[Word<'a>] {
        &self.words[self.at.min(self.words.len())..]
    }

    fn part(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at)?;
        if !matches!(word.kind, WordKind::Plain | WordKind::Quoted) {
            return None;
        }
        self.at += 1;
        Some(word.text)
    }
}

impl Word<'_> {
    /// Quoted names are never keywords.
    fn is(&self, word: &str) -> bool {
        matches!(self.kind, WordKind::Plain | WordKind::Sign)
            && self.text.eq_ignore_ascii_case(word)
    }

    fn depth_after(&self, depth: usize) -> usize {
        match self.text {
            "(" if self.kind == WordKind::Sign => depth + 1,
            ")" if self.kind == WordKind::Sign => depth.saturating_sub(1),
            _ => depth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_with_their_schema_and_their_quotes() {
        let mut words = Words::of("ALTER /* x */ TABLE IF EXISTS ONLY \"S\" . t ADD a int");
        assert!(words.take("alter table") && words.take("if exists"));
        assert_eq!(words.names(), ["\"S\".t"]);
        assert_eq!(words.take_any(&["drop", "add"]), Some("add"));
        assert_eq!(words.text(), "a int");
    }

    #[test]
    fn commas_and_words_inside_parentheses_do_not_split() {
        let words = Words::of("add a numeric(1,2) check (b in (1,2)), drop c");
        let parts: Vec<String> = words.split().iter().map(Words::text).collect();
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts[1], "drop c");
        let mut words = Words::of("t (select a from u) as x, v");
        assert!(!words.clone().skip_past("from"));
        assert!(words.skip_past("as"));
        assert_eq!(words.text(), "x , v");
        let mut group = Words::of("(a, (b)) c");
        assert_eq!(group.group().text(), "a , ( b )");
        assert_eq!(group.text(), "c");
        assert_eq!(Words::of("(").group().text(), "");
    }
}
