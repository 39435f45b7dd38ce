//! What a URL means where it says nothing.

use std::path::PathBuf;

use crate::endpoint::TlsMode;

/// What the configuration says about what a URL leaves open.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// `sslmode` of a host that is not local.
    pub(crate) tls_mode: TlsMode,
    /// `sslrootcert` where the server is verified.
    pub(crate) root_cert: Option<PathBuf>,
    /// What relative paths are relative to.
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
