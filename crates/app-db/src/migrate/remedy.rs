//! What to do about a failure, found by its SQLSTATE, as the server's text may be in any language.

use std::fmt;

use tokio_postgres::error::SqlState;

/// The end of a message: what helps against the failure, if the migrator knows it.
pub(super) struct Remedy<'a>(pub(super) Option<&'a SqlState>);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = match self.0 {
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                "the role lacks a right: run migrations as the owner of the schema, or GRANT the right \
                 (`GRANT CREATE ON SCHEMA .. TO ..` to create a table, `ALTER ROLE .. CREATEDB` to create a database)"
            }
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                "the server or the session is read-only: set DATABASE_URL_DIRECT to the primary, or set \
                 default_transaction_read_only to off"
            }
            Some(code) if *code == SqlState::INVALID_SCHEMA_NAME => {
                "no such schema: create it, or ALTER ROLE .. SET search_path to one that exists"
            }
            Some(code) if *code == SqlState::DISK_FULL => {
                "the server's disk is full: make room there, then run again"
            }
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => {
                "the server has no connection left: end some, or raise max_connections"
            }
            Some(code) if *code == SqlState::OBJECT_IN_USE => {
                "other sessions use it: end them, or drop it with `--force`"
            }
            Some(code) if *code == SqlState::QUERY_CANCELED => {
                "it was cancelled, or ran for longer than `migrations.statement_timeout`: raise that, \
                 or write `statement_timeout` under `[dbctl]` in metadata.toml"
            }
            Some(code)
                if *code == SqlState::UNTRANSLATABLE_CHARACTER
                    || *code == SqlState::CHARACTER_NOT_IN_REPERTOIRE =>
            {
                "the database's encoding lacks a character of the file: create the database with \
                 ENCODING 'UTF8'"
            }
            Some(code)
                if *code == SqlState::COLLATION_MISMATCH
                    || *code == SqlState::INDETERMINATE_COLLATION =>
            {
                "the collations differ: name one with COLLATE"
            }
            _ => return Ok(()),
        };
        write!(f, "; {remedy}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_is_known_says_what_helps() {
        for (code, helps) in [
            ("42501", "GRANT"),
            ("25006", "DATABASE_URL_DIRECT"),
            ("3F000", "search_path"),
            ("53100", "make room"),
            ("22P05", "ENCODING"),
        ] {
            let text = Remedy(Some(&SqlState::from_code(code))).to_string();
            assert!(
                text.starts_with("; ") && text.contains(helps),
                "{code}: {text}"
            );
        }
        assert_eq!(Remedy(Some(&SqlState::SYNTAX_ERROR)).to_string(), "");
        assert_eq!(Remedy(None).to_string(), "");
    }
}
