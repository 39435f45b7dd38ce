//! A row as the server sent it.

use diesel::deserialize::{self, QueryableByName};
use diesel::pg::Pg;
use diesel::row::{Field, NamedRow};

/// A row's values: type and bytes, or null.
pub(crate) type Row = Vec<Option<(u32, Vec<u8>)>>;

/// A row as the server sent it.
pub(crate) struct Raw {
    pub(crate) names: Vec<String>,
    pub(crate) values: Row,
}

impl QueryableByName<Pg> for Raw {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for place in 0..row.field_count() {
            let field = diesel::row::Row::get(row, place).ok_or("a column is missing")?;
            names.push(field.field_name().unwrap_or_default().to_owned());
            let value = field.value();
            values.push(value.map(|value| (value.get_oid().get(), value.as_bytes().to_vec())));
        }
        Ok(Self { names, values })
    }
}
