//! Folding: a statement's text becomes words, marks and `?`, and repetitions are kept once.

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

/// One word, mark or value of a folded statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'s> {
    pub(super) kind: PieceKind,
    pub(super) text: &'s str,
    /// There was nothing between it and the piece before it.
    glued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// A name or a keyword whose case the server folds.
    Word,
    QuotedName,
    /// A literal or a placeholder.
    Value,
    Operator,
    Open,
    Close,
    Comma,
    Semicolon,
    /// A dot or a colon, without a space on either side.
    Joint,
}

impl PieceKind {
    /// Whether a space stands between it and the next piece, so that equal statements are always written alike.
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
    /// Whether a bracket after it encloses arguments and not a list of values.
    fn names_a_function(&self) -> bool {
        let is = |word: &&str| self.text.eq_ignore_ascii_case(word);
        match self.kind {
            PieceKind::Word => !["in", "values", "any", "all", "some", "row"].iter().any(is),
            PieceKind::QuotedName => true,
            _ => false,
        }
    }

    /// Whether an operator may follow it.
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

/// Folds a text. A shortened text may end in the middle of a word, which is left out. Returns whether anything
/// was left out.
///
/// If a backslash precedes a quote in a plain string, `standard_conforming_strings` decides where the string
/// ends. Nothing after it is read, because that may be a value.
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
            // The lexer reads each part of a string by that part's prefix, and the server by the prefix of the
            // first part.
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

/// Whether a backslash may precede a quote in the next string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    /// The last token was `E'...'`.
    Begun,
    /// A line has ended since then, so a quoted text there is its next part.
    Broken,
}

impl Escapes {
    /// Takes one token in. Returns whether it is a further part of a string with escapes.
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

/// The length of the string at the start of a text, in which a backslash escapes the next character.
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
    /// No space has come since the last piece.
    glued: bool,
}

/// An open bracket, and where its last two items begin.
struct List {
    /// Whether it encloses the arguments of a function: a call with one more argument is another call.
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
            // A `?` is a value that is already folded. An unknown token may be a part of a value.
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

    /// The sign of a value belongs to it. A string in several parts is one value.
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

    /// Whether the last piece is a sign, and no operand precedes it.
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

    /// Adjacent characters form one operator. The server's rule decides about a sign at its end.
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

    /// Drops the last item of the list if it is like the one before it.
    fn end_item(&mut self) {
        // A row may have a word where the next row has a value.
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

    /// Whether the item at `second`, which has a value, equals the item at `first`.
    fn repeats(&self, first: usize, second: usize) -> bool {
        let again = &self.pieces[second..];
        again.iter().any(|piece| piece.kind == PieceKind::Value)
            && self.pieces[first..first + again.len()] == *again
    }
}

/// An operator that contains one of these may end in a sign; any other operator ends before the sign.
const TAKES_A_SIGN: &[char] = &['~', '!', '@', '#', '%', '^', '&', '|', '`'];
