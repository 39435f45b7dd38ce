//! A value, and the answer to where it comes from.

use std::fmt;

use crate::origin::Origin;

/// One value in force with its origin. Secrets are shown as `***`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Explained {
    /// The key: `database.pools.write.max`, `database.url`, `APP_ENV`.
    pub key: String,
    /// The value; `***` if it is secret.
    pub value: String,
    /// Where it was set.
    pub origin: Origin,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explained { key, value, origin } = self;
        write!(f, "{key} = {value}  ({origin})")
    }
}
