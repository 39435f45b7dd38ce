//! What the wire reads off the text of a statement.

pub(crate) mod boundary;
pub(crate) mod harmless;
pub(crate) mod local_settings;
pub(crate) mod opening;
pub(crate) mod residue;
pub(crate) mod text;
pub(crate) mod tokens;
pub(crate) mod words;
