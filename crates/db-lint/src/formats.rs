//! The forms in which a report is written down.

pub(crate) mod format;
mod github;
mod gitlab;
mod json;
mod sarif;
mod shown;
mod text;
