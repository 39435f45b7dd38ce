//! `CREATE INDEX CONCURRENTLY`, which can fail and leave an invalid index under the name.
//!
//! Such an index still costs every write, a unique one still refuses rows, and `IF NOT EXISTS` takes it for
//! the finished one. So the migrator drops it before the next attempt, and requires a valid index
//! afterwards.

use squawk_lexer::TokenKind;
use tokio_postgres::{Client, Error};

use crate::migrate::statements::MigrationStatement;
use crate::migrate::tokens::tokens;

/// The index that a statement builds concurrently, as the statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConcurrentIndex {
    name: String,
    /// With its schema, if the statement names one.
    table: String,
}

/// An index of this name in the schema of the table.
pub(super) struct FoundIndex {
    /// Schema and name, quoted where necessary.
    pub(super) name: String,
    pub(super) is_valid: bool,
    /// Whether it is an index of the table.
    pub(super) on_table: bool,
}

impl ConcurrentIndex {
    /// `None` if `statement` builds no index concurrently, or leaves its name to the server.
    pub(super) fn of(statement: &MigrationStatement<'_>) -> Option<Self> {
        if !statement.concurrent || statement.verb() != "create" {
            return None;
        }
        let sql = statement.sql;
        let words: Vec<&str> = tokens(sql)
            .into_iter()
            .filter(|token| {
                !matches!(
                    token.kind,
                    TokenKind::Whitespace | TokenKind::LineComment | TokenKind::BlockComment { .. }
                )
            })
            .map(|token| &sql[token.place])
            .collect();
        let mut words = words.into_iter().peekable();
        words.next_if(|word| is(word, "create"))?;
        words.next_if(|word| is(word, "unique"));
        words.next_if(|word| is(word, "index"))?;
        words.next_if(|word| is(word, "concurrently"))?;
        if words.next_if(|word| is(word, "if")).is_some() {
            words.next_if(|word| is(word, "not"))?;
            words.next_if(|word| is(word, "exists"))?;
        }
        let name = words.next().filter(|word| !is(word, "on"))?.to_owned();
        words.next_if(|word| is(word, "on"))?;
        words.next_if(|word| is(word, "only"));
        let mut table = words.next()?.to_owned();
        while words.next_if_eq(&".").is_some() {
            table = format!("{table}.{}", words.next()?);
        }
        Some(Self { name, table })
    }

    /// The index of this name, if there is one.
    pub(super) async fn find(&self, client: &Client) -> Result<Option<FoundIndex>, Error> {
        let row = client.query_opt(FIND, &[&self.table, &self.name]).await?;
        row.map(|row| {
            Ok(FoundIndex {
                name: row.try_get(0)?,
                is_valid: row.try_get(1)?,
                on_table: row.try_get(2)?,
            })
        })
        .transpose()
    }

    /// The statement that waits for every session that is building an index of the table now. Its lock
    /// blocks only other changes of the table.
    pub(super) fn wait_for_builders(&self) -> String {
        format!(
            "BEGIN; LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE; COMMIT",
            self.table
        )
    }

    /// The table as the statement names it.
    pub(super) fn table(&self) -> &str {
        &self.table
    }
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

/// `parse_ident` and the cast read the name as the server does: folded, unquoted, cut to its length.
const FIND: &str = "SELECT format('%I.%I', n.nspname, c.relname), i.indisvalid, i.indrelid = t.oid \
     FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
     JOIN pg_catalog.pg_class c ON c.relnamespace = t.relnamespace \
     JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
     WHERE t.oid = to_regclass($1::text) AND c.relname = (parse_ident($2::text))[1]::name";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::statements::split;

    fn index(sql: &str) -> Option<(String, String)> {
        let index = ConcurrentIndex::of(&split(sql)[0])?;
        Some((index.name, index.table))
    }

    #[test]
    fn name_and_table_are_read_however_the_statement_is_written() {
        for (sql, name, table) in [
            ("create index concurrently a on t(b)", "a", "t"),
            (
                "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS A ON ONLY s.t (b)",
                "A",
                "s.t",
            ),
            (
                "create index /* on x */ concurrently \"on\" -- on y\n on \"S\" . \"t;t\"(b)",
                "\"on\"",
                "\"S\".\"t;t\"",
            ),
        ] {
            let expected = Some((name.to_owned(), table.to_owned()));
            assert_eq!(index(sql), expected, "{sql}");
        }
        for sql in [
            "create index concurrently on t(b)",
            "create index a on t(concurrently)",
            "drop index concurrently a",
            "reindex index concurrently a",
        ] {
            assert_eq!(index(sql), None, "{sql}");
        }
    }
}
