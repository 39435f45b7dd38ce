//! The values of parameters that a URL leaves out.

use std::path::PathBuf;

use crate::endpoint::TlsMode;

/// The configured values of parameters that a URL leaves out.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// `sslmode` for a host that is not local.
    pub(crate) tls_mode: TlsMode,
    /// `sslrootcert` for a connection that verifies the server.
    pub(crate) root_cert: Option<PathBuf>,
    /// The directory that relative paths start from.
    pub(crate) dir: PathBuf,
}

impl Default for Defaults {
    /// What libpq does.
    fn default() -> Self {
        Defaults {
            tls_mode: TlsMode::Prefer,
            root_cert: None,
            dir: PathBuf::new(),
        }
    }
}
