//! The two pools that are compared.

use clap::ValueEnum;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// diesel-async and bb8.
    Plain,
    /// app-db.
    Ours,
}

impl Side {
    /// Its name as an argument.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Ours => "ours",
        }
    }
}
