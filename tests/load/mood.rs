//! An enum of the database, whose number diesel-async has to look up.

use std::io::Write;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::SqlType;

/// The type `mood`.
#[derive(Debug, Clone, Copy, SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "mood"))]
pub struct MoodType;

/// One of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = MoodType)]
pub(crate) enum Mood {
    Sad,
    Fine,
    Glad,
}

impl Mood {
    pub(crate) fn of(n: i32) -> Self {
        match n % 3 {
            0 => Self::Sad,
            1 => Self::Fine,
            _ => Self::Glad,
        }
    }
}

impl ToSql<MoodType, Pg> for Mood {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(match self {
            Self::Sad => b"sad",
            Self::Fine => b"fine",
            Self::Glad => b"glad",
        })?;
        Ok(IsNull::No)
    }
}

impl FromSql<MoodType, Pg> for Mood {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            b"sad" => Ok(Self::Sad),
            b"fine" => Ok(Self::Fine),
            b"glad" => Ok(Self::Glad),
            other => Err(format!("no mood: {other:?}").into()),
        }
    }
}
