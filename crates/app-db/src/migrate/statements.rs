//! A migration's SQL, cut into the statements the server will see.
//!
//! The server runs several statements of one batch in one implicit transaction, in which
//! `CREATE INDEX CONCURRENTLY` fails. Most errors also have no position, so a batch would not show which
//! statement failed. So the migrator sends the statements one by one, as `psql -f` does, and cuts them like
//! psql: at a semicolon outside quotes, comments, parentheses and `BEGIN ATOMIC`.

use squawk_lexer::TokenKind;

use crate::migrate::tokens::tokens;

/// One statement of a migration, with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MigrationStatement<'a> {
    /// The text from its first word, without the semicolon.
    pub(super) sql: &'a str,
    /// The offset of the first byte in the file.
    pub(super) offset: usize,
    /// The first words, in lower case.
    leading: Vec<String>,
    /// Whether it has `CONCURRENTLY`. Such a statement waits for other transactions.
    pub(super) concurrent: bool,
    /// The part that only psql understands, as an error names it.
    pub(super) only_for_psql: Option<String>,
}

impl<'a> MigrationStatement<'a> {
    /// The empty statement after the last one of `sql`. A failed COMMIT is reported there.
    pub(super) fn end_of(sql: &'a str) -> Self {
        let offset = sql.trim_end().len();
        Self {
            sql: &sql[offset..offset],
            offset,
            leading: Vec::new(),
            concurrent: false,
            only_for_psql: None,
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

    /// Whether it accepts an existing object, as with `IF NOT EXISTS`. If it fails because the object
    /// exists, another session was creating the object in the same moment.
    pub(super) fn accepts_existing(&self) -> bool {
        self.leading.iter().skip(1).take(2).eq(["or", "replace"])
            || ["if", "not", "exists"]
                .iter()
                .all(|word| mentions(self.sql, word))
    }

    /// The first word, in lower case.
    pub(super) fn verb(&self) -> &str {
        self.leading.first().map_or("", String::as_str)
    }
}

/// The statements of `sql`, except those with only comments and blanks.
pub(super) fn split(sql: &str) -> Vec<MigrationStatement<'_>> {
    let mut statements = Vec::new();
    let mut open = Open::default();
    for token in tokens(sql) {
        let text = &sql[token.place.clone()];
        match token.kind {
            TokenKind::Semi if open.at_top() => {
                statements.extend(open.close(sql));
                open = Open::default();
            }
            TokenKind::Unknown if open.start.is_none() && guards_a_dump(text) => {}
            kind => open.push(kind, token.place.start, token.place.end, text),
        }
    }
    statements.extend(open.close(sql));
    statements
}

/// Whether `sql` names `word` outside strings and comments.
pub(super) fn mentions(sql: &str, word: &str) -> bool {
    tokens(sql).iter().any(|token| {
        token.kind == TokenKind::Ident && sql[token.place.clone()].eq_ignore_ascii_case(word)
    })
}

/// Whether it is one of the two lines that pg_dump puts around a dump since August 2025. They only make psql
/// refuse every other command.
fn guards_a_dump(command: &str) -> bool {
    matches!(psql_command(command), "\\restrict" | "\\unrestrict")
}

/// The name of a psql command, with its backslash.
fn psql_command(text: &str) -> &str {
    let name = text[1..]
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .map_or(text.len(), |length| 1 + length);
    // `\.` and `\!` are named by their sign.
    if name > 1 {
        &text[..name]
    } else {
        text.split_whitespace().next().unwrap_or(text)
    }
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
    last_word: String,
    only_for_psql: Option<String>,
}

impl Open {
    fn at_top(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn push(&mut self, kind: TokenKind, start: usize, end: usize, text: &str) {
        match kind {
            // A comment without an end is sent, so that the server refuses it and the text that it has
            // swallowed.
            TokenKind::Whitespace
            | TokenKind::LineComment
            | TokenKind::BlockComment { terminated: true } => return,
            TokenKind::Unknown if text.starts_with('\\') => {
                let command = format!("`{}`, a command of psql,", psql_command(text));
                self.only_for_psql.get_or_insert(command);
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
        if self.parentheses == 0 && self.words.first().is_some_and(|first| first == "copy") {
            match (self.last_word.as_str(), word.as_str()) {
                ("from", "stdin") => self.only_for_psql = Some("`COPY .. FROM stdin`".to_owned()),
                ("to", "stdout") => self.only_for_psql = Some("`COPY .. TO stdout`".to_owned()),
                _ => {}
            }
        }
        if self.words.len() < LEADING_WORDS {
            self.words.push(word.clone());
        }
        self.last_word = word;
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
            only_for_psql: self.only_for_psql,
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
    fn statements_that_accept_an_existing_object_are_recognised() {
        for (sql, accepts) in [
            ("create extension if not exists citext", true),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS ''",
                true,
            ),
            ("create schema shared", false),
            ("create table t(a text default 'if not exists')", false),
        ] {
            assert_eq!(split(sql)[0].accepts_existing(), accepts, "{sql}");
        }
    }

    #[test]
    fn words_in_strings_and_comments_are_not_mentioned() {
        assert!(mentions("SET Lock_Timeout = '1s'", "lock_timeout"));
        assert!(!mentions(
            "select 'lock_timeout' -- lock_timeout",
            "lock_timeout"
        ));
    }

    /// A token without an end goes to the server whole, wherever it begins.
    #[test]
    fn what_has_no_end_is_sent_to_the_server() {
        for unended in [
            "/* a; b",
            "/* a /* b */ c;",
            "/*",
            "'a; b",
            "E'a\\'; b",
            "U&'a; b",
            "B'0; b",
            "X'0; b",
            "N'a; b",
            "\"a; b",
            "U&\"a; b",
            "$$a; b",
            "$$a; $",
            "$t$a; $$; $T$",
            "$t$a; $t",
            "(a; b",
        ] {
            assert_eq!(texts(unended), [unended]);
            let behind = format!("select 1; {unended}");
            assert_eq!(texts(&behind), ["select 1", unended]);
            let inside = format!("select 1 {unended}");
            assert_eq!(texts(&inside), [&inside]);
        }
    }

    #[test]
    fn a_string_with_escapes_has_them_on_its_next_line_too() {
        for string in ["E'a'\n'b\\';c'", "e'a' -- c\n 'b\\';' \r\n'\\';'"] {
            let sql = format!("select {string}; select 2");
            assert_eq!(texts(&sql), [&format!("select {string}"), "select 2"]);
        }
        assert_eq!(texts("select E'a', 'b\\'; select 2").len(), 2);
        assert_eq!(texts("select E'a' 'b\\'; select 2").len(), 2);
    }

    #[test]
    fn what_only_psql_can_do_is_named_and_the_guards_of_a_dump_are_skipped() {
        let named = |sql| {
            let statements = split(sql);
            let mut named = statements.into_iter().filter_map(|s| s.only_for_psql);
            named.next().unwrap_or_default()
        };
        for (sql, name) in [
            ("select 1;\n\\set a 1\nselect 2", "`\\set`"),
            ("\\i other.sql", "`\\i`"),
            ("select 1 \\gexec", "`\\gexec`"),
            ("\\! rm x", "`\\!`"),
            ("select 1 \\restrict", "`\\restrict`"),
            (
                "COPY t (a, b) FROM stdin;\n1\tit's\n\\.\n",
                "`COPY .. FROM stdin`",
            ),
            (
                "copy t from STDIN with (format csv)",
                "`COPY .. FROM stdin`",
            ),
            ("copy (select 1) to stdout", "`COPY .. TO stdout`"),
        ] {
            assert!(named(sql).starts_with(name), "{sql}: {}", named(sql));
        }
        for sql in [
            "copy t from '/tmp/stdin'",
            "copy (select * from stdin) to '/tmp/x'",
            "select 'from stdin', E'\\\\set'",
            "-- \\set\nselect 1",
            "select a from stdin",
        ] {
            assert_eq!(named(sql), "", "{sql}");
        }
        assert_eq!(
            texts("\\restrict aB3\n\nselect 1;\r\n\\unrestrict aB3\r\n"),
            ["select 1"]
        );
    }
}
