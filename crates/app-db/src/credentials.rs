//! Where user and password come from, and how they are renewed while work goes on.

pub(crate) mod check;
mod command_source;
pub(crate) mod configured;
pub(crate) mod current_credentials;
mod directory_source;
pub(crate) mod fetch;
mod file_source;
mod format;
pub(crate) mod keyring;
pub(crate) mod known;
pub(crate) mod renewal;
pub(crate) mod renewal_handle;
mod schedule;
pub(crate) mod secret;
pub(crate) mod source;
mod stamp;
pub(crate) mod status;
mod timestamp;
mod values;
