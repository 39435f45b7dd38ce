//! A regression script, divided into the statements that psql would send.
//!
//! It divides like psql: at a semicolon outside quotes, comments, parentheses and `BEGIN ATOMIC`. Parts that
//! only psql understands (its own commands and variables, rows for COPY after the statement) are left out
//! and counted.

use serde::Serialize;
use squawk_lexer::{TokenKind, tokenize};

/// One statement, with the line that it begins at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) line: usize,
    pub(crate) turn: Turn,
}

/// Which run of a statement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Turn {
    First,
    /// Once more on the same connection.
    Again,
    /// Once more for the next holder, after the script.
    NextBorrower,
}

/// A script's statements, and how many were left out.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) statements: Vec<Statement>,
    /// psql's own commands.
    pub(crate) commands: usize,
    /// Statements that need psql: its variables, its `\bind` and the like.
    pub(crate) only_for_psql: usize,
    /// COPY with rows after it in the script, or with a program.
    pub(crate) copies: usize,
}

/// Cuts a script.
pub(crate) fn split(text: &str) -> Script {
    let mut script = Script::default();
    let mut open = Open::default();
    let mut start = 0;
    while start < text.len() {
        start = cut_until_a_command(text, start, &mut open, &mut script);
    }
    open.close(&mut script);
    script
}

/// Reads tokens from `start` on, and returns where to continue: after the next psql command.
fn cut_until_a_command(text: &str, start: usize, open: &mut Open, script: &mut Script) -> usize {
    let mut offset = start;
    for token in tokenize(&text[start..]) {
        let end = offset + token.len as usize;
        let word = &text[offset..end];
        if word.starts_with('\\') {
            return obey(text, offset, open, script);
        }
        if token.kind == TokenKind::Semi && open.at_top() {
            let copies = open.close(script);
            if copies > 0 {
                return (0..copies).fold(end, |end, _| behind_the_rows(text, end));
            }
        } else {
            open.push(text, token.kind, offset, end);
        }
        offset = end;
    }
    text.len()
}

/// Executes a psql command as far as it concerns the statement before it.
fn obey(text: &str, offset: usize, open: &mut Open, script: &mut Script) -> usize {
    let rest = &text[offset..];
    if let Some(_behind) = rest.strip_prefix("\\;") {
        // Several statements in one message.
        open.text.push(';');
        return offset + 2;
    }
    let line = rest.find('\n').map_or(text.len(), |length| offset + length);
    let command: String = rest[1..]
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    script.commands += 1;
    match command.as_str() {
        // The statement is sent, as with a semicolon.
        "g" | "gx" | "gset" | "gexec" => {
            open.close(script);
        }
        "bind" | "bind_named" | "parse" | "sendpipeline" | "gdesc" | "crosstabview" | "watch" => {
            open.needs_psql = true;
            open.close(script);
        }
        _ => {}
    }
    line
}

/// The place after the rows of a COPY, which end with a line of their own.
fn behind_the_rows(text: &str, end: usize) -> usize {
    let rest = &text[end..];
    rest.find("\n\\.")
        .map_or(end, |place| end + place + "\n\\.".len())
}

/// The statement being read.
#[derive(Default)]
struct Open {
    text: String,
    line: usize,
    /// Its words outside quotes, in lower case.
    words: Vec<String>,
    parentheses: usize,
    brackets: usize,
    /// Depth of `BEGIN .. END` and `CASE .. END` within a routine's body.
    blocks: usize,
    colon_before: bool,
    needs_psql: bool,
}

impl Open {
    fn at_top(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn push(&mut self, text: &str, kind: TokenKind, start: usize, end: usize) {
        let word = &text[start..end];
        let is_space = matches!(kind, TokenKind::Whitespace | TokenKind::LineComment);
        if self.text.is_empty()
            && (is_space || matches!(kind, TokenKind::BlockComment { terminated: true }))
        {
            return;
        }
        if self.text.is_empty() {
            self.line = text[..start].matches('\n').count() + 1;
        }
        match kind {
            TokenKind::OpenParen => self.parentheses += 1,
            TokenKind::CloseParen => self.parentheses = self.parentheses.saturating_sub(1),
            TokenKind::OpenBracket => self.brackets += 1,
            TokenKind::CloseBracket => self.brackets = self.brackets.saturating_sub(1),
            TokenKind::Ident => self.push_word(word.to_ascii_lowercase()),
            _ => {}
        }
        self.watch_for_variables(text, kind, end);
        self.text.push_str(word);
    }

    /// `:name`, `:'name'` and `:"name"` are psql's; `::` is a cast and `[a:b]` a slice.
    fn watch_for_variables(&mut self, text: &str, kind: TokenKind, end: usize) {
        let is_colon = kind == TokenKind::Colon;
        if is_colon && !self.colon_before && self.brackets == 0 {
            let next = text[end..].chars().next().unwrap_or(' ');
            self.needs_psql |= next.is_alphabetic() || matches!(next, '_' | '\'' | '"' | '{');
        }
        self.colon_before = is_colon && !self.colon_before;
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
        self.words.push(word);
    }

    fn defines_routine(&self) -> bool {
        let first: Vec<&str> = self.words.iter().take(4).map(String::as_str).collect();
        matches!(
            first.as_slice(),
            ["create", "function" | "procedure", ..]
                | ["create", "or", "replace", "function" | "procedure", ..]
        )
    }

    /// Ends the statement. Returns how many times rows of a COPY follow in the script.
    fn close(&mut self, script: &mut Script) -> usize {
        let open = std::mem::take(self);
        let sql = open.text.trim_end();
        if sql.is_empty() || sql.chars().all(|c| c == ';') {
            return 0;
        }
        let has = |word: &str| open.words.iter().any(|said| said == word);
        let pairs = open.words.windows(2);
        // For psql the named source of the rows makes no difference.
        let from_script = pairs.filter(|pair| pair[0] == "from" && STREAMS.contains(&&*pair[1]));
        let with_rows = if has("copy") { from_script.count() } else { 0 };
        if with_rows > 0 || (has("copy") && has("program")) {
            script.copies += 1;
        } else if open.needs_psql {
            script.only_for_psql += 1;
        } else {
            script.statements.push(Statement {
                sql: sql.to_owned(),
                line: open.line,
                turn: Turn::First,
            });
        }
        with_rows
    }
}

const STREAMS: [&str; 2] = ["stdin", "stdout"];

#[cfg(test)]
mod tests {
    use super::split;

    fn texts(text: &str) -> Vec<(usize, String)> {
        let statements = split(text).statements.into_iter();
        statements.map(|found| (found.line, found.sql)).collect()
    }

    fn owned(found: &[(usize, &str)]) -> Vec<(usize, String)> {
        let found = found.iter();
        found
            .map(|(line, sql)| (*line, (*sql).to_owned()))
            .collect()
    }

    #[test]
    fn psqls_own_is_left_out_and_the_rest_goes_on() {
        let script = "-- a\n\\set x 'it''s; \nselect 1;\nselect ';' \\gset\nselect :'x';\n\
                      select a[1:n], '1'::text from t;\n\\d t\nselect 2 \\bind 1 \\g\nselect 3 -- end";
        let expected = [
            (3, "select 1"),
            (4, "select ';'"),
            (6, "select a[1:n], '1'::text from t"),
            (9, "select 3 -- end"),
        ];
        assert_eq!(texts(script), owned(&expected));
        let cut = split(script);
        assert_eq!((cut.commands, cut.only_for_psql), (4, 2));
    }

    #[test]
    fn rows_of_a_copy_are_no_statements() {
        let script = "copy t from stdin;\n1\tit's;\n\\.\nselect 1;";
        assert_eq!(texts(script), owned(&[(4, "select 1")]));
        assert_eq!(split(script).copies, 1);
        let twice =
            "copy t from stdin\\; select 1\\; copy t from stdout;\n1;\n\\.\n2;\n\\.\nselect 1;";
        assert_eq!(texts(twice), owned(&[(6, "select 1")]));
    }

    #[test]
    fn several_statements_of_one_message_stay_together() {
        assert_eq!(
            texts("begin\\; select 1\\; commit;\nselect 2;"),
            owned(&[(1, "begin; select 1; commit"), (2, "select 2")])
        );
    }

    #[test]
    fn a_body_of_a_routine_is_one_statement() {
        let function = "create function f() returns int begin atomic select 1; select case when true then 1 end; end";
        assert_eq!(
            texts(&format!("{function};\nselect $$;$$;")),
            owned(&[(1, function), (2, "select $$;$$")])
        );
    }
}
