//! The statements of a text, as the server divides it.

use crate::sql::tokens::{Sql, Token, Tokens};

/// The statements of a text one after another; empty ones are left out.
pub(crate) fn statements(sql: Sql<'_>) -> Statements<'_> {
    Statements {
        sql,
        tokens: Tokens::of(sql),
    }
}

/// Whether there is no statement in it.
pub(crate) fn is_blank(sql: Sql<'_>) -> bool {
    Tokens::of(sql).all(|token| token == END)
}

/// The only statement of a text; `None` if there are more or none.
pub(crate) fn only(sql: Sql<'_>) -> Option<Sql<'_>> {
    let mut all = statements(sql);
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// The first token of a statement that is not a parenthesis.
pub(crate) fn first(statement: Sql<'_>) -> Token<'_> {
    Tokens::of(statement)
        .find(|token| *token != Token::Symbol(b'('))
        .unwrap_or(END)
}

/// See [`statements`].
pub(crate) struct Statements<'s> {
    sql: Sql<'s>,
    tokens: Tokens<'s>,
}

impl<'s> Iterator for Statements<'s> {
    type Item = Sql<'s>;

    fn next(&mut self) -> Option<Sql<'s>> {
        loop {
            let text = self.tokens.rest();
            let mut body = Body::default();
            let mut is_empty = true;
            let end = loop {
                let before = self.tokens.rest().len();
                match self.tokens.next() {
                    Some(END) if body.is_over() => break before,
                    Some(token) => {
                        is_empty = false;
                        body.note(token);
                    }
                    None => break 0,
                }
            };
            if !is_empty {
                // It ends before the semicolon and the blanks that precede it.
                return Some(self.sql.part(&text[..text.len() - end]));
            }
            if self.tokens.rest().is_empty() {
                return None;
            }
        }
    }
}

/// The nesting depth in parts that have semicolons of their own: parentheses, as in CREATE RULE, and the body of
/// a function that is written in SQL (BEGIN ATOMIC).
#[derive(Default)]
struct Body {
    parentheses: u32,
    blocks: u32,
    begins: bool,
}

impl Body {
    fn note(&mut self, token: Token<'_>) {
        let begins = std::mem::replace(&mut self.begins, token.is(b"BEGIN"));
        match token {
            Token::Symbol(b'(') => self.parentheses += 1,
            Token::Symbol(b')') => self.parentheses = self.parentheses.saturating_sub(1),
            _ if begins && token.is(b"ATOMIC") => self.blocks += 1,
            _ if self.blocks > 0 && token.is(b"CASE") => self.blocks += 1,
            _ if self.blocks > 0 && token.is(b"END") => self.blocks -= 1,
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }
}

/// The token that ends a statement.
const END: Token<'static> = Token::Symbol(b';');

#[cfg(test)]
mod tests {
    use super::*;

    fn divided(sql: &str) -> Vec<String> {
        statements(Sql::of(sql.as_bytes()))
            .map(|one| String::from_utf8_lossy(one.text).trim().to_owned())
            .collect()
    }

    #[test]
    fn a_semicolon_ends_a_statement_where_the_server_says_so() {
        assert_eq!(
            divided(" ;; select 1; -- a;\n ;select ';' ; "),
            ["select 1", "select ';'"]
        );
        let function = "create function f() returns int begin atomic select case when true then 1 end; select 2; end";
        assert_eq!(
            divided(&format!("{function}; select 3")),
            [function, "select 3"]
        );
        let rule = "create rule r as on insert to t do (delete from u; notify x)";
        assert_eq!(divided(&format!("{rule};")), [rule]);
        assert_eq!(divided("do $$ begin; commit; end $$; x").len(), 2);
        assert_eq!(divided("begin; select 1; end").len(), 3);
        assert!(is_blank(Sql::of(b" -- x\n;")) && !is_blank(Sql::of(b"x")));
        assert!(only(Sql::of(b"select 1;")).is_some() && only(Sql::of(b"a;b")).is_none());
    }
}
