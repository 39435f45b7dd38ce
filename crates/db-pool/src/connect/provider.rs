//! What TLS computes with.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The process's own provider. Where it has none yet, that of this crate's features becomes it.
///
/// rustls does the same for a process that has one provider built in, and panics where there are two. So that
/// nobody meets that panic because this crate has brought the second, the choice is made here.
pub(crate) fn of_process() -> Option<Arc<CryptoProvider>> {
    if CryptoProvider::get_default().is_none()
        && let Some(provider) = built_in()
    {
        // Another thread may have been quicker; then its choice holds.
        let _ = provider.install_default();
    }
    CryptoProvider::get_default().cloned()
}

#[cfg(feature = "aws-lc-rs")]
fn built_in() -> Option<CryptoProvider> {
    Some(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn built_in() -> Option<CryptoProvider> {
    Some(rustls::crypto::ring::default_provider())
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn built_in() -> Option<CryptoProvider> {
    None
}

/// Where there is no provider.
pub(crate) const MISSING: &str = "the process has no cryptography for TLS: enable the feature `ring` or `aws-lc-rs` of \
     app-db, or call `rustls::crypto::CryptoProvider::install_default` at the start";
