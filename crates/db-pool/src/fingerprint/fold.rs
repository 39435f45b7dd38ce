//! Folding: a statement's text becomes words, marks and `?`, and what repeats is there once.

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

/// One word, mark or value of a folded statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'s> {
    pub(super) kind: PieceKind,
    pub(super) text: &'s str,
    /// Nothing stood between it and what is before it.
    glued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// A name or a keyword, of which the server folds the case.
    Word,
    QuotedName,
    /// A literal or a placeholder.
    Value,
    Operator,
    Open,
    Close,
    Comma,
    Semicolon,
    /// A dot or a colon, which have no space on either side.
    Joint,
}

impl PieceKind {
    /// Whether a space stands between it and the next piece, so that the same is always written alike.
    pub(super) fn parts_from(self, next: &Piece<'_>) -> bool {
        let ends_close = matches!(self, Self::Open | Self::Joint);
        let begins_close = match next.kind {
            Self::Close | Self::Comma | Self::Semicolon | Self::Joint => true,
            Self::Open => next.text == "[" || next.glued,
            _ => false,
        };
        !ends_close && !begins_close
    }
}

impl Piece<'_> {
    /// Whether a bracket behind it has arguments, and no list of values.
    fn names_a_function(&self) -> bool {
        let is = |word: &&str| self.text.eq_ignore_ascii_case(word);
        match self.kind {
            PieceKind::Word => !["in", "values", "any", "all", "some", "row"].iter().any(is),
            PieceKind::QuotedName => true,
            _ => false,
        }
    }

    /// Whether an operator may stand behind it.
    fn ends_an_operand(&self) -> bool {
        matches!(
            self.kind,
            PieceKind::Word | PieceKind::QuotedName | PieceKind::Value | PieceKind::Close
        )
    }

    fn stands_for_a_value(&self) -> bool {
        let is = |word: &&str| self.text.eq_ignore_ascii_case(word);
        self.kind == PieceKind::Word && ["null", "true", "false", "default"].iter().any(is)
    }
}

impl PartialEq for Piece<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, self.text) == (other.kind, other.text)
    }
}

/// Folds a text; one that is cut may end in the middle of a word, which is left out. Says whether anything was.
///
/// Where a backslash stands before a quote in a plain string, `standard_conforming_strings` decides where that
/// string ends. Nothing behind it is read, as it may be a value.
pub(super) fn fold(sql: &str, is_cut: bool) -> (Vec<Piece<'_>>, bool) {
    let mut folding = Folding {
        sql,
        pieces: Vec::new(),
        lists: Vec::new(),
        glued: false,
    };
    let (mut offset, mut tokens) = (0, tokenize(sql));
    let mut escapes = Escapes::None;
    let mut is_left_out = is_cut;
    while let Some(token) = tokens.next() {
        let (start, mut end) = (offset, offset + token.len as usize);
        let goes_on = escapes.go_on(token.kind, &sql[start..end]);
        if goes_on {
            // The lexer reads each part of a string by its own prefix, the server by that of the first.
            end = start + length_with_escapes(&sql[start..]);
            tokens = tokenize(&sql[end..]);
        }
        offset = end;
        let is_partial =
            is_cut && end == sql.len() && !matches!(token.kind, TokenKind::Literal { .. });
        if !is_partial {
            folding.push(token.kind, start, end);
        }
        if !goes_on && is_plain_string(token.kind) && sql[start..end].contains("\\'") {
            is_left_out |= end < sql.len();
            break;
        }
    }
    while !folding.lists.is_empty() {
        folding.end_item();
        folding.lists.pop();
    }
    (folding.pieces, is_left_out)
}

fn is_plain_string(kind: TokenKind) -> bool {
    let TokenKind::Literal { kind } = kind else {
        return false;
    };
    matches!(
        kind,
        LiteralKind::Str { .. } | LiteralKind::NationalStr { .. }
    )
}

/// Whether a backslash may stand before a quote in the string that comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    /// `E'...'` was the last.
    Begun,
    /// And a line has ended since: what stands in quotes there is its next part.
    Broken,
}

impl Escapes {
    /// Takes one token in; whether it is a further part of a string with escapes.
    fn go_on(&mut self, kind: TokenKind, text: &str) -> bool {
        let before = *self;
        *self = match kind {
            TokenKind::Literal {
                kind: LiteralKind::EscStr { .. },
            } => Self::Begun,
            TokenKind::Literal {
                kind: LiteralKind::Str { .. },
            } if before == Self::Broken => {
                *self = Self::Begun;
                return true;
            }
            TokenKind::Whitespace if before != Self::None && text.contains(['\n', '\r']) => {
                Self::Broken
            }
            TokenKind::Whitespace | TokenKind::LineComment => before,
            _ => Self::None,
        };
        false
    }
}

/// The length of the string that a text begins with, in which a backslash takes the next character along.
fn length_with_escapes(text: &str) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1).peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'\'' if bytes.next_if(|(_, next)| *next == b'\'').is_none() => return at + 1,
            _ => {}
        }
    }
    text.len()
}

struct Folding<'s> {
    sql: &'s str,
    pieces: Vec<Piece<'s>>,
    /// The brackets that are open.
    lists: Vec<List>,
    /// Nothing has come since the last piece.
    glued: bool,
}

/// An open bracket, and where its last two items begin.
struct List {
    /// It has the arguments of a function: with one more it is another call.
    is_call: bool,
    open: usize,
    previous: Option<usize>,
    item: usize,
}

impl<'s> Folding<'s> {
    fn push(&mut self, kind: TokenKind, start: usize, end: usize) {
        let text = &self.sql[start..end];
        let kind = match kind {
            TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {
                self.glued = false;
                return;
            }
            TokenKind::Ident => PieceKind::Word,
            TokenKind::QuotedIdent { .. } => PieceKind::QuotedName,
            TokenKind::Dot | TokenKind::DotDot | TokenKind::Colon => PieceKind::Joint,
            TokenKind::Semi => PieceKind::Semicolon,
            TokenKind::Comma => PieceKind::Comma,
            TokenKind::OpenParen | TokenKind::OpenBracket => PieceKind::Open,
            TokenKind::CloseParen | TokenKind::CloseBracket => PieceKind::Close,
            TokenKind::Question if self.is_operator_of_json(&self.sql[end..]) => {
                PieceKind::Operator
            }
            // A `?` is what a value has become already. What cannot be told may be a part of one.
            TokenKind::Literal { .. }
            | TokenKind::PositionalParam { .. }
            | TokenKind::Question
            | TokenKind::Unknown
            | TokenKind::Eof => PieceKind::Value,
            _ => PieceKind::Operator,
        };
        match kind {
            PieceKind::Value => self.push_value(),
            PieceKind::Operator => self.push_operator(start, end),
            PieceKind::Open => {
                let open = self.pieces.len();
                let is_call =
                    text == "(" && self.pieces.last().is_some_and(Piece::names_a_function);
                self.put(kind, text);
                self.lists.push(List {
                    is_call,
                    open,
                    previous: None,
                    item: open + 1,
                });
            }
            PieceKind::Comma => {
                self.end_item();
                self.put(kind, text);
                let next = self.pieces.len();
                if let Some(list) = self.lists.last_mut() {
                    list.previous = Some(list.item);
                    list.item = next;
                }
            }
            PieceKind::Close => self.close(text),
            _ => self.put(kind, text),
        }
        self.glued = true;
    }

    /// Whether a `?` before this text asks jsonb for a key (`?`, `?|`, `?&`): it stands between two operands.
    fn is_operator_of_json(&self, rest: &str) -> bool {
        let next = rest.trim_start();
        let operand = next.starts_with(['\'', '$', '?', '('])
            || next
                .get(..5)
                .is_some_and(|word| word.eq_ignore_ascii_case("array"));
        let goes_on = rest.starts_with(['|', '&']) && !rest.starts_with("||");
        self.pieces.last().is_some_and(Piece::ends_an_operand) && (goes_on || operand)
    }

    fn put(&mut self, kind: PieceKind, text: &'s str) {
        let glued = self.glued;
        self.pieces.push(Piece { kind, text, glued });
    }

    /// A sign that belongs to the value goes with it; a string in several parts is one value.
    fn push_value(&mut self) {
        while self.ends_in_its_sign() {
            self.pieces.pop();
        }
        if self
            .pieces
            .last()
            .is_none_or(|last| last.kind != PieceKind::Value)
        {
            self.put(PieceKind::Value, "?");
        }
    }

    /// Whether the last piece is a sign that has nothing before it to add to or to take from.
    fn ends_in_its_sign(&self) -> bool {
        let is_sign = |piece: &Piece<'_>| {
            piece.kind == PieceKind::Operator && matches!(piece.text, "+" | "-")
        };
        match self.pieces.as_slice() {
            [.., before, sign] => {
                is_sign(sign)
                    && matches!(
                        before.kind,
                        PieceKind::Operator | PieceKind::Open | PieceKind::Comma | PieceKind::Joint
                    )
            }
            [sign] => is_sign(sign),
            [] => false,
        }
    }

    /// Characters that stand together are one operator, by the server's rule for the sign at its end.
    fn push_operator(&mut self, start: usize, end: usize) {
        let text = &self.sql[start..end];
        let is_sign = matches!(text, "+" | "-");
        if let Some(last) = self.pieces.last_mut()
            && self.glued
            && last.kind == PieceKind::Operator
            && (!is_sign || last.text.contains(TAKES_A_SIGN))
        {
            last.text = &self.sql[start - last.text.len()..end];
            return;
        }
        self.put(PieceKind::Operator, text);
    }

    fn close(&mut self, text: &'s str) {
        self.end_item();
        let list = self.lists.pop();
        self.put(PieceKind::Close, text);
        let Some(List { open, .. }) = list else {
            return;
        };
        // A row like the one before it, as in VALUES.
        let length = self.pieces.len() - open;
        let Some(before) = open.checked_sub(1 + length) else {
            return;
        };
        let in_call = self.lists.last().is_some_and(|outer| outer.is_call);
        if !in_call && self.pieces[open - 1].kind == PieceKind::Comma && self.repeats(before, open)
        {
            self.pieces.truncate(open - 1);
            if let Some(outer) = self.lists.last_mut() {
                outer.item = outer.previous.take().unwrap_or(outer.item);
            }
        }
    }

    /// Leaves the last item of the list out if it is like the one before it.
    fn end_item(&mut self) {
        // A row without a value has a word in its place: the next one may have the value.
        if let Some(list) = self.lists.last()
            && let Some([item]) = self.pieces.get_mut(list.item..)
            && item.stands_for_a_value()
        {
            (item.kind, item.text) = (PieceKind::Value, "?");
        }
        let Some(&List {
            is_call: false,
            previous: Some(previous),
            item,
            ..
        }) = self.lists.last()
        else {
            return;
        };
        if item - 1 - previous == self.pieces.len() - item && self.repeats(previous, item) {
            self.pieces.truncate(item - 1);
            if let Some(list) = self.lists.last_mut() {
                (list.previous, list.item) = (None, previous);
            }
        }
    }

    /// Whether what begins at `second`, which has a value, is the same as what begins at `first`.
    fn repeats(&self, first: usize, second: usize) -> bool {
        let again = &self.pieces[second..];
        again.iter().any(|piece| piece.kind == PieceKind::Value)
            && self.pieces[first..first + again.len()] == *again
    }
}

/// An operator with one of these may end in a sign; any other ends before it.
const TAKES_A_SIGN: &[char] = &['~', '!', '@', '#', '%', '^', '&', '|', '`'];
