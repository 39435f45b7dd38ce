//! Whether a migration deletes data, which no `down.sql` brings back.

use crate::migrate::statements::split;
use crate::migrate::words::Words;

/// Whether `sql`, the text of a file, drops tables, columns or schemas, or deletes rows. It does not look into
/// `DO` blocks and functions.
pub(super) fn is_destructive(sql: &str) -> bool {
    split(sql)
        .iter()
        .any(|statement| takes_data(Words::of(statement.sql)))
}

fn takes_data(mut words: Words<'_>) -> bool {
    let kinds = [
        "truncate",
        "delete",
        "with",
        "merge",
        "drop",
        "alter table",
        "alter foreign table",
    ];
    match words.take_any(&kinds) {
        Some("truncate" | "delete") => true,
        Some("with" | "merge") => words.has("delete"),
        Some("drop") => {
            let holds_rows = ["table", "foreign table", "schema", "owned", "database"];
            words.take_any(&holds_rows).is_some() || drops_with_cascade(&mut words)
        }
        Some(_) => {
            words.take("if exists");
            words.take("only");
            words.name();
            words.take("*");
            words.split().into_iter().any(drops_column)
        }
        None => false,
    }
}

/// CASCADE drops the columns of a type, and the tables of an extension.
fn drops_with_cascade(words: &mut Words<'_>) -> bool {
    let used_by_columns = words.take_any(&["type", "domain", "extension"]).is_some();
    used_by_columns && words.has("cascade")
}

fn drops_column(mut action: Words<'_>) -> bool {
    let drops = action.take("drop");
    drops && !action.is("constraint")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_tables_columns_or_rows_away_is_destructive() {
        for sql in [
            "create table a(); DROP TABLE IF EXISTS b",
            "alter table only s.a add b int, drop column if exists c",
            "alter table a drop c",
            "truncate a",
            "delete from a where b",
            "with gone as (delete from a returning *) insert into b select * from gone",
            "drop schema s cascade",
            "drop type mood cascade",
        ] {
            assert!(is_destructive(sql), "{sql}");
        }
        for sql in [
            "create table a(b int default 1)",
            "alter table a drop constraint c, alter column b drop default",
            "drop index a; drop view b; drop function f; drop type mood",
            "insert into a values ('drop table b')",
            "update a set b = 1",
            "create table c(x int references a on delete cascade)",
        ] {
            assert!(!is_destructive(sql), "{sql}");
        }
    }
}
