//! A migration's SQL, cut into the statements the server will see.
//!
//! The server runs several statements of one batch in one implicit transaction, in which `CREATE INDEX
//! CONCURRENTLY` fails. And most errors have no position, so that they could not be placed in the file. So
//! the migrator sends the statements one by one, as `psql -f` does, and cuts them like psql: at a semicolon
//! outside quotes, comments, parentheses and `BEGIN ATOMIC`.

use squawk_lexer::{TokenKind, tokenize};

/// One statement of a migration, with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MigrationStatement<'a> {
    /// The text from its first word on, without the semicolon.
    pub(super) sql: &'a str,
    /// The offset of the first byte in the file.
    pub(super) offset: usize,
    /// The first words, in lower case.
    leading: Vec<String>,
    /// Whether it says `CONCURRENTLY`. Such a statement waits for other transactions.
    pub(super) concurrent: bool,
}

impl<'a> MigrationStatement<'a> {
    /// The empty statement behind the last one of `sql`. A failed COMMIT is reported there.
    pub(super) fn end_of(sql: &'a str) -> Self {
        let offset = sql.trim_end().len();
        Self {
            sql: &sql[offset..offset],
            offset,
            leading: Vec::new(),
            concurrent: false,
        }
    }

    /// Whether it starts or ends a transaction, and so would end the transaction of the migrator.
    pub(super) fn controls_transaction(&self) -> bool {
        let mut words = self.leading.iter().map(String::as_str);
        match words.next() {
            Some("begin" | "commit" | "end" | "abort") => true,
            Some("start" | "prepare") => words.next() == Some("transaction"),
            Some("rollback") => !words.take(2).any(|word| word == "to"),
            _ => false,
        }
    }
}

/// The statements of `sql`, without any that consist of comments and blanks alone.
pub(super) fn split(sql: &str) -> Vec<MigrationStatement<'_>> {
    let mut statements = Vec::new();
    let mut open = Open::default();
    let mut offset = 0;
    for token in tokenize(sql) {
        let end = offset + token.len as usize;
        match token.kind {
            TokenKind::Semi if open.at_top() => {
                statements.extend(open.close(sql));
                open = Open::default();
            }
            kind => open.push(kind, offset, end, &sql[offset..end]),
        }
        offset = end;
    }
    statements.extend(open.close(sql));
    statements
}

/// Whether `sql` names `word` outside strings and comments.
pub(super) fn mentions(sql: &str, word: &str) -> bool {
    let mut offset = 0;
    tokenize(sql).any(|token| {
        let text = &sql[offset..offset + token.len as usize];
        offset += token.len as usize;
        token.kind == TokenKind::Ident && text.eq_ignore_ascii_case(word)
    })
}

/// The statement being read.
#[derive(Default)]
struct Open {
    start: Option<usize>,
    end: usize,
    /// The first words in lower case, as many as tell a routine's definition from the rest.
    words: Vec<String>,
    parentheses: usize,
    /// Depth of `BEGIN .. END` and `CASE .. END` within a routine's body.
    blocks: usize,
    concurrent: bool,
}

impl Open {
    fn at_top(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn push(&mut self, kind: TokenKind, start: usize, end: usize, text: &str) {
        match kind {
            TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. } => {
                return;
            }
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::Ident => self.push_word(text.to_ascii_lowercase()),
            _ => {}
        }
        self.start.get_or_insert(start);
        self.end = end;
    }

    fn push_word(&mut self, word: String) {
        if self.parentheses == 0 && self.defines_routine() {
            match word.as_str() {
                "begin" => self.blocks += 1,
                "case" if self.blocks > 0 => self.blocks += 1,
                "end" => self.blocks = self.blocks.saturating_sub(1),
                _ => {}
            }
        }
        self.concurrent |= word == "concurrently";
        if self.words.len() < LEADING_WORDS {
            self.words.push(word);
        }
    }

    fn defines_routine(&self) -> bool {
        let mut words = self.words.iter().map(String::as_str);
        if words.next() != Some("create") {
            return false;
        }
        match words.next() {
            Some("function" | "procedure") => true,
            Some("or") => {
                words.next() == Some("replace")
                    && matches!(words.next(), Some("function" | "procedure"))
            }
            _ => false,
        }
    }

    fn close(self, sql: &str) -> Option<MigrationStatement<'_>> {
        let start = self.start?;
        Some(MigrationStatement {
            sql: &sql[start..self.end],
            offset: start,
            leading: self.words,
            concurrent: self.concurrent,
        })
    }
}

/// `create or replace function`
const LEADING_WORDS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        split(sql)
            .into_iter()
            .map(|statement| statement.sql)
            .collect()
    }

    #[test]
    fn statements_end_at_semicolons_and_blank_ones_are_left_out() {
        assert_eq!(
            texts("select 1;\n;; -- only a comment;\n select 2 -- tail;\n"),
            ["select 1", "select 2"]
        );
        assert!(split("-- nothing\n/* at ; all */").is_empty());
    }

    #[test]
    fn quotes_and_comments_hide_semicolons() {
        for sql in [
            "select ';'",
            "select 'it''s;'",
            r"select E'\';'",
            r#"select 1 as "a;b""#,
            "select /* a; /* b; */ c; */ 1",
            "select $$a;b$$",
            "do $body$ begin perform 1; perform $$;$$; end $body$",
            "create rule r as on insert to t do also (delete from a; delete from b)",
        ] {
            assert_eq!(texts(&format!("{sql};select 2")), [sql, "select 2"]);
        }
    }

    #[test]
    fn the_body_of_a_standard_routine_is_one_statement() {
        let function = "create or replace function f(a int) returns int begin atomic \
                        select case when a > 1 then 2 else 3 end; select 4; end";
        assert_eq!(
            texts(&format!("{function};select 2;")),
            [function, "select 2"]
        );
        let procedure = "CREATE PROCEDURE p() BEGIN ATOMIC insert into t values (1); END";
        assert_eq!(
            texts(&format!("{procedure};select 2;")),
            [procedure, "select 2"]
        );
    }

    #[test]
    fn offsets_point_at_the_first_word() {
        let sql = "-- a comment with ü\nselect 1;\n\n  select 2";
        for statement in split(sql) {
            assert!(sql[statement.offset..].starts_with(statement.sql));
        }
        assert_eq!(split(sql)[0].offset, 21);
    }

    #[test]
    fn transaction_control_is_recognised_and_savepoints_are_not() {
        for sql in [
            "BEGIN",
            "begin work",
            "commit",
            "end",
            "abort",
            "START TRANSACTION",
            "rollback",
        ] {
            assert!(split(sql)[0].controls_transaction(), "{sql}");
        }
        assert!(split("prepare transaction 'x'")[0].controls_transaction());
        for sql in [
            "savepoint a",
            "rollback work to a",
            "prepare p as select 1",
            "do $$ begin end $$",
        ] {
            assert!(!split(sql)[0].controls_transaction(), "{sql}");
        }
    }

    #[test]
    fn concurrent_statements_are_marked() {
        let all = split("create index concurrently i on t(a); create table concurrently_not()");
        assert_eq!(
            all.iter().map(|s| s.concurrent).collect::<Vec<_>>(),
            [true, false]
        );
    }

    #[test]
    fn words_in_strings_and_comments_are_not_mentioned() {
        assert!(mentions("SET Lock_Timeout = '1s'", "lock_timeout"));
        assert!(!mentions(
            "select 'lock_timeout' -- lock_timeout",
            "lock_timeout"
        ));
    }
}
