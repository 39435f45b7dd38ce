//! The names of a migration's directory and files, as diesel has them.

pub(super) const UP: &str = "up.sql";
pub(super) const DOWN: &str = "down.sql";
pub(super) const METADATA: &str = "metadata.toml";

/// The version in a text that a person typed: the name of the directory, or a part of it.
pub(super) fn version_of(text: &str) -> String {
    let (version, _) = text.split_once('_').unwrap_or((text, ""));
    version.replace('-', "")
}
