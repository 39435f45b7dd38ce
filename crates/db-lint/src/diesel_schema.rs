//! `schema.rs`, which declares the tables to diesel.

pub(crate) mod comparison;
pub(crate) mod schema_rs;
mod table;
