//! The rules by their stable names, each with a safe recipe.

mod catalogue;
mod opt_in;
mod ours;
mod rule;
mod squawks;
mod table;

pub(crate) use self::catalogue::find;
pub(crate) use self::ours::*;
pub use self::rule::{Rule, Severity};
