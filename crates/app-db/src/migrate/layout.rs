//! The files in the directory of a migration, as diesel names them.

pub(super) const UP: &str = "up.sql";
pub(super) const DOWN: &str = "down.sql";
pub(super) const METADATA: &str = "metadata.toml";
