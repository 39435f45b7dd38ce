//! The operating system's user, who logs in if nothing names another user, as with libpq.

/// The name of the user that the process runs as. A process in a container may have none.
pub(crate) fn name() -> Option<String> {
    whoami::username().ok().filter(|name| !name.is_empty())
}
