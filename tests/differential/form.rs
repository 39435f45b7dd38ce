//! The forms in which diesel-async sends a statement.

use clap::ValueEnum;
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Untyped;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;

use crate::answer::{Answer, Rows};
use crate::raw::Raw;

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// `batch_execute`: one simple query. Nobody sees its rows.
    Simple,
    /// `sql_query`: prepared each time it runs.
    Extended,
    /// Like the DSL's own statements: diesel keeps it prepared by its text.
    Cached,
}

impl Form {
    pub(crate) const ALL: [Self; 3] = [Self::Simple, Self::Extended, Self::Cached];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Extended => "extended",
            Self::Cached => "cached",
        }
    }

    /// Runs a statement, and reads all its rows if it has any.
    pub(crate) async fn run(
        self,
        conn: &mut AsyncPgConnection,
        sql: &str,
        has_rows: bool,
    ) -> QueryResult<Answer> {
        match (self, has_rows) {
            (Self::Simple, _) => conn.batch_execute(sql).await.map(|()| Answer::Done),
            (Self::Extended, true) => rows(diesel::sql_query(sql).load(conn).await?),
            (Self::Extended, false) => count(diesel::sql_query(sql).execute(conn).await?),
            (Self::Cached, true) => rows(Kept(sql.to_owned()).load(conn).await?),
            (Self::Cached, false) => count(Kept(sql.to_owned()).execute(conn).await?),
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the arm of a match of results")]
fn rows(rows: Vec<Raw>) -> QueryResult<Answer> {
    Ok(Answer::Rows(Rows::of(rows)))
}

#[expect(clippy::unnecessary_wraps, reason = "the arm of a match of results")]
fn count(count: usize) -> QueryResult<Answer> {
    Ok(Answer::Count(count))
}

/// Any statement as a query of the DSL, which diesel keeps prepared.
struct Kept(String);

impl QueryFragment<Pg> for Kept {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&self.0);
        Ok(())
    }
}

/// It is found by its text, because it has no type of its own.
impl QueryId for Kept {
    type QueryId = ();

    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Kept {
    type SqlType = Untyped;
}

impl<Conn> diesel::query_dsl::RunQueryDsl<Conn> for Kept {}
