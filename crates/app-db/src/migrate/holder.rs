//! The migrator that others wait for.

use std::fmt;

/// The session that holds the migrators' lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The server process, as in `pg_stat_activity`.
    pub pid: i32,
    /// The session's `application_name`; may be empty.
    pub application_name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid,
            application_name,
        } = self;
        write!(f, "backend {pid}")?;
        if application_name.is_empty() {
            Ok(())
        } else {
            write!(f, " ({application_name})")
        }
    }
}
