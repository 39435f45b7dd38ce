//! An answer as a client sees it, in a form that two servers give alike.

use diesel::QueryResult;
use diesel::deserialize::{self, QueryableByName};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::row::{Field, NamedRow};
use diesel::sql_types::Untyped;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::sequence::Form;

/// What a statement came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Rows(Vec<String>),
    Failed(String),
}

impl Answer {
    pub(crate) async fn of(conn: &mut AsyncPgConnection, form: Form, sql: &str) -> Self {
        let answered = match form {
            Form::Command => conn.batch_execute(sql).await.map(|()| Self::Done),
            Form::Read => diesel::sql_query(sql).load(conn).await.map(rows),
            Form::Kept => Kept(sql.to_owned()).load(conn).await.map(rows),
        };
        answered.unwrap_or_else(|error| Self::Failed(error.to_string()))
    }

    /// A refusal that names the way out.
    pub(crate) fn is_refusal(&self) -> bool {
        let names_it =
            |text: &str| text.contains("via = \"direct\"") || text.contains("URL_DIRECT");
        matches!(self, Self::Failed(text) if names_it(text))
    }

    /// The server's word for a plan or a type that has grown old under diesel's own statement cache.
    pub(crate) fn is_outdated(&self) -> bool {
        let says = [
            "cached plan must not change",
            "cache lookup failed",
            "forgotten",
            "has changed since it was prepared",
        ];
        matches!(self, Self::Failed(text) if says.iter().any(|says| text.contains(says)))
    }
}

fn rows(rows: Vec<Shown>) -> Answer {
    Answer::Rows(rows.into_iter().map(|row| row.0).collect())
}

/// Any statement as one of the DSL, which diesel keeps prepared by its text.
struct Kept(String);

impl QueryFragment<Pg> for Kept {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.0);
        Ok(())
    }
}

impl QueryId for Kept {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Kept {
    type SqlType = Untyped;
}

impl<Conn> diesel::query_dsl::RunQueryDsl<Conn> for Kept {}

/// A row: the name, type and bytes of each value.
struct Shown(String);

impl QueryableByName<Pg> for Shown {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let mut values = Vec::new();
        for place in 0..row.field_count() {
            let field = diesel::row::Row::get(row, place).ok_or("a column is missing")?;
            let name = field.field_name().unwrap_or_default().to_owned();
            values.push(match field.value() {
                None => format!("{name} null"),
                Some(value) => {
                    // Types that a sequence makes have another number in each database.
                    let oid = value.get_oid().get();
                    let kind = if oid < FIRST_OWN {
                        oid.to_string()
                    } else {
                        "own".to_owned()
                    };
                    format!("{name} {kind}:{}", value.as_bytes().escape_ascii())
                }
            });
        }
        Ok(Self(values.join(", ")))
    }
}

const FIRST_OWN: u32 = 16_384;
