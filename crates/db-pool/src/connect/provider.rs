//! The cryptography provider of TLS.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The process's own provider. If it has none yet, this installs the provider of this crate's features.
///
/// rustls does the same if one provider is built into the process, and panics if there are two. This crate
/// may have brought the second one. So this function makes the choice, and avoids that panic.
pub(crate) fn of_process() -> Option<Arc<CryptoProvider>> {
    if CryptoProvider::get_default().is_none()
        && let Some(provider) = built_in()
    {
        // If another thread was quicker, its choice stays.
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

/// The error if there is no provider.
pub(crate) const MISSING: &str = "the process has no cryptography for TLS: enable the feature `ring` or `aws-lc-rs` of \
     app-db, or call `rustls::crypto::CryptoProvider::install_default` at the start";
