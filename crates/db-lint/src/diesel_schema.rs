//! `schema.rs`, where diesel is told which tables there are.

pub(crate) mod comparison;
pub(crate) mod schema_rs;
mod table;
