#![doc = include_str!("../README.md")]

mod allow;
mod checks;
mod comments;
mod diesel_schema;
mod error;
mod finding;
mod formats;
mod linter;
mod outline;
mod report;
mod rules;
mod since;
mod sizes;
mod squawk;
mod squawk_ignore;
mod squawk_toml;

pub use self::diesel_schema::comparison::{Difference, compare};
pub use self::diesel_schema::schema_rs::SchemaRs;
pub use self::error::LintError;
pub use self::finding::Finding;
pub use self::formats::format::Format;
pub use self::linter::Linter;
pub use self::report::Report;
pub use self::rules::{Rule, Severity};
pub use self::since::Changes;
pub use self::sizes::Sizes;
