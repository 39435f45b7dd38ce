//! What a text may leave behind in the session: settings, locks, channels, temporary tables.
//!
//! A text counts as leaving nothing only if every command and every function in it is known to be harmless. So a text
//! that the wire does not understand costs a reset, and is not a leak. But the wire sees only the text. It does not see
//! what the server does because of the text: triggers, defaults (`nextval` of a serial column), views, rules, policies,
//! operators, casts and domains that call functions, a function of a row that is written like one of its columns, and
//! user functions with a built-in name, which win if the search path puts pg_catalog last. If one of these changes the
//! session, the service needs `reset = "always"`.

use crate::sql::harmless::{is_harmless_function, is_syntax};
use crate::sql::tokens::{Sql, Token, Tokens};

/// What running a text may leave behind, from harmless to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the code that hands a session on decides about each"
)]
pub enum Residue {
    /// Nothing that outlasts the transaction.
    #[default]
    Nothing,
    /// Something that a reset removes.
    Undoable,
    /// Something that lasts as long as the session.
    Lasting,
}

impl Residue {
    /// What a text of one or more statements may leave behind.
    pub(crate) fn of(sql: Sql<'_>) -> Self {
        let mut reader = ResidueReader::of(sql);
        let mut all = Self::Nothing;
        while let Some(one) = reader.statement() {
            all = all.max(one);
        }
        all
    }
}

/// Reads a text statement by statement.
struct ResidueReader<'s> {
    tokens: Tokens<'s>,
    before: Token<'s>,
    name: Option<Name<'s>>,
    /// The statement has a DISTINCT ON.
    distinct_on: bool,
}

/// A name that has just been read, with its qualifiers.
#[derive(Clone, Copy)]
struct Name<'s> {
    /// The token before the whole name.
    before: Token<'s>,
    qualifier: Qualifier<'s>,
    last: Token<'s>,
}

#[derive(Clone, Copy)]
enum Qualifier<'s> {
    None,
    Schema(Token<'s>),
    /// More qualifiers than a function can have.
    Several,
}

impl<'s> ResidueReader<'s> {
    fn of(sql: Sql<'s>) -> Self {
        Self {
            tokens: Tokens::of(sql),
            before: START,
            name: None,
            distinct_on: false,
        }
    }

    /// What the next statement may leave behind. `None` if there are no more statements.
    fn statement(&mut self) -> Option<Residue> {
        let first = self.tokens.by_ref().find(|token| *token != START)?;
        let (mut residue, suspicious) = match first {
            Token::Word(word) => command(first, word, &self.tokens),
            Token::Symbol(b'(') => (Residue::Nothing, NOTHING),
            _ => (Residue::Undoable, NOTHING),
        };
        (self.before, self.name, self.distinct_on) = (START, None, false);
        self.note(first);
        while let Some(token) = self.tokens.next() {
            let leaves = match token {
                START => break,
                Token::Odd => true,
                Token::Word(_) => token.is_any(suspicious) || self.makes_a_table(token),
                Token::Symbol(b'(') => self.name.is_some_and(|name| !self.is_harmless(name)),
                _ => false,
            };
            if leaves {
                residue = residue.max(Residue::Undoable);
            }
            self.note(token);
        }
        Some(residue)
    }

    /// `SELECT .. INTO`, which may be INTO TEMP.
    fn makes_a_table(&self, here: Token<'_>) -> bool {
        here.is(b"INTO") && !self.before.is_any(&[b"INSERT", b"MERGE"])
    }

    /// Keeps the context that is needed to read the next token.
    fn note(&mut self, token: Token<'s>) {
        let before = std::mem::replace(&mut self.before, token);
        self.distinct_on |= before.is(b"DISTINCT") && token.is(b"ON");
        self.name = match (self.name.take(), token) {
            (name @ Some(_), Token::Symbol(b'.')) => name,
            (Some(name), Token::Word(_) | Token::Quoted(_)) if before == PERIOD => Some(Name {
                qualifier: match name.qualifier {
                    Qualifier::None => Qualifier::Schema(name.last),
                    _ => Qualifier::Several,
                },
                last: token,
                ..name
            }),
            (_, Token::Word(_) | Token::Quoted(_)) => Some(Name {
                before,
                qualifier: Qualifier::None,
                last: token,
            }),
            _ => None,
        };
    }

    /// Whether a name with a parenthesis after it changes nothing: it is no call, or the call of a known
    /// function.
    fn is_harmless(&self, name: Name<'s>) -> bool {
        if name.before == Token::Cast || name.before.is_any(BEFORE_A_LIST) {
            return true;
        }
        match (name.qualifier, name.last) {
            // A field of a row may be a function of the row.
            _ if name.before == PERIOD || self.before == PERIOD => false,
            (Qualifier::None, Token::Word(word))
                if is_syntax(word) || self.is_construct(word, name) =>
            {
                true
            }
            (Qualifier::None, last) => self.is_known(last),
            (Qualifier::Schema(schema), last) => is_pg_catalog(schema) && self.is_known(last),
            (Qualifier::Several, _) => false,
        }
    }

    fn is_known(&self, function: Token<'_>) -> bool {
        let (Token::Word(name) | Token::Quoted(name)) = function else {
            return false;
        };
        let lower = matches!(function, Token::Word(_)).then(|| name.to_ascii_lowercase());
        let name = lower.as_deref().unwrap_or(name);
        is_harmless_function(name) || (name == b"set_config" && sets_locally(self.tokens.clone()))
    }

    /// Whether the word could name a function, but does not here.
    fn is_construct(&self, word_here: &[u8], name: Name<'s>) -> bool {
        let behind = |words: &[&[u8]]| name.before.is_any(words);
        match word_here.to_ascii_uppercase().as_slice() {
            b"FILTER" => self.goes_on_with(&[b"WHERE"]),
            // Only after `DISTINCT ON (..)` may an expression follow a parenthesis.
            b"OVER" if name.before != Token::Symbol(b')') => false,
            b"OVER" => !self.distinct_on || self.goes_on_with(&[b"PARTITION", b"ORDER"]),
            b"BY" => behind(&[b"GROUP", b"ORDER", b"PARTITION"]),
            b"SETS" => behind(&[b"GROUPING"]),
            b"ROLLUP" | b"CUBE" => behind(&[b"BY"]),
            b"CONFLICT" => behind(&[b"ON"]) && self.comes_to(b"DO"),
            b"MATERIALIZED" => behind(&[b"AS", b"NOT"]),
            b"INSERT" => behind(&[b"THEN"]),
            b"ZONE" => behind(&[b"TIME"]),
            b"FIRST" | b"NEXT" => behind(&[b"FETCH"]),
            b"BERNOULLI" | b"SYSTEM" => behind(&[b"TABLESAMPLE"]),
            b"VARYING" => behind(&[b"CHARACTER", b"CHAR", b"BIT", b"NCHAR"]),
            b"COPY" | b"EXPLAIN" | b"VACUUM" => name.before == START,
            b"JOIN" => behind(JOINS) || self.goes_on_with(&[b"SELECT", b"WITH"]),
            _ => false,
        }
    }

    /// Whether this keyword, which only an upsert has, comes later.
    fn comes_to(&self, keyword: &[u8]) -> bool {
        self.tokens.clone().any(|token| token.is(keyword))
    }

    /// Whether one of these words follows. None of them can be an argument.
    fn goes_on_with(&self, words: &[&[u8]]) -> bool {
        let next = self.tokens.clone().next();
        next.is_some_and(|next| next.is_any(words))
    }
}

/// What a command may leave behind by itself, and the words in it that make it leave something.
fn command(
    first: Token<'_>,
    word: &[u8],
    rest: &Tokens<'_>,
) -> (Residue, &'static [&'static [u8]]) {
    let second = rest.clone().next().unwrap_or(START);
    let residue = match word.to_ascii_uppercase().as_slice() {
        b"EXPLAIN" => {
            return (
                Residue::Nothing,
                &[b"CREATE", b"EXECUTE", b"REFRESH", b"HOLD"],
            );
        }
        b"DECLARE" => return (Residue::Nothing, &[b"HOLD"]),
        // Outside a transaction SET LOCAL does nothing.
        b"SET" if second.is_any(ENDS_WITH_TRANSACTION) => Residue::Nothing,
        b"PREPARE" if second.is(b"TRANSACTION") => Residue::Nothing,
        // diesel uses names of statements too, and a loaded library stays.
        b"PREPARE" | b"LOAD" => Residue::Lasting,
        _ if first.is_any(HARMLESS) => Residue::Nothing,
        _ => Residue::Undoable,
    };
    (residue, NOTHING)
}

/// Whether the arguments of a `set_config` end with `true`, so that the setting ends with the transaction.
fn sets_locally(tokens: Tokens<'_>) -> bool {
    let mut depth = 0_u32;
    let mut arguments = 1;
    let mut last = START;
    let mut alone = false;
    for token in tokens {
        match token {
            Token::Symbol(b')') if depth == 0 => {
                return arguments == 3 && alone && last.is(b"TRUE");
            }
            Token::Symbol(b',') if depth == 0 => arguments += 1,
            Token::Symbol(b'(' | b'[') => depth += 1,
            Token::Symbol(b')' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        alone = last == Token::Symbol(b',');
        last = token;
    }
    false
}

fn is_pg_catalog(schema: Token<'_>) -> bool {
    schema.is(b"pg_catalog") || schema == Token::Quoted(b"pg_catalog")
}

/// The token before a statement.
const START: Token<'static> = Token::Symbol(b';');

const PERIOD: Token<'static> = Token::Symbol(b'.');

const NOTHING: &[&[u8]] = &[];

/// Commands that leave nothing behind when the transaction is over. Functions in them are judged separately.
#[rustfmt::skip]
const HARMLESS: &[&[u8]] = &[
    b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"VALUES", b"TABLE", b"WITH", b"BEGIN",
    b"START", b"COMMIT", b"END", b"ROLLBACK", b"ABORT", b"SAVEPOINT", b"RELEASE", b"LOCK", b"COPY",
    b"NOTIFY", b"TRUNCATE", b"ANALYZE", b"ANALYSE", b"VACUUM", b"SHOW", b"FETCH", b"MOVE", b"CLOSE",
];

pub(crate) const ENDS_WITH_TRANSACTION: &[&[u8]] = &[b"LOCAL", b"TRANSACTION", b"CONSTRAINTS"];

/// After one of these words, a name may have a list of columns or the size of a type: `INSERT INTO t (`,
/// `WITH t (`.
const BEFORE_A_LIST: &[&[u8]] = &[b"INTO", b"AS", b"WITH", b"RECURSIVE", b"COPY"];

#[rustfmt::skip]
const JOINS: &[&[u8]] = &[
    b"INNER", b"OUTER", b"LEFT", b"RIGHT", b"FULL", b"CROSS", b"NATURAL",
];
