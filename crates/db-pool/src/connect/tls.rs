//! TLS with rustls, with libpq's meaning of `sslmode`.

mod files;
mod presented;
mod verifier;

use std::sync::Arc;

use db_config::{Tls, TlsMode};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::connect::provider;
use crate::connect::tls::files::{certificates, certificates_in, private_key};
use crate::connect::tls::verifier::{Trust, Verifier};

/// Prepares the connector for handshakes; `None` if TLS is off.
///
/// Reads the certificate files, so it is called once per pool and not per connection.
///
/// | `sslmode` | encrypted | chain | name |
/// |---|---|---|---|
/// | `disable` | no | | |
/// | `allow`, `prefer` | if the server can | no | no |
/// | `require` | yes | only with a root certificate, as libpq does | no |
/// | `verify-ca` | yes | yes | no |
/// | `verify-full` | yes | yes | yes |
pub(crate) fn prepare(tls: &Tls, address: &str) -> Result<Option<MakeRustlsConnect>, ConnectError> {
    // This runs even without TLS, because this crate's provider is part of the process either way.
    let provider = provider::of_process();
    let trust = match tls.mode {
        TlsMode::Disable => return Ok(None),
        TlsMode::Require if tls.root_cert.is_some() => Trust::Chain,
        TlsMode::VerifyCa => Trust::Chain,
        TlsMode::VerifyFull => Trust::ChainAndName,
        _ => Trust::Anyone,
    };
    let refused = |what: String| ConnectError::new(address, ConnectFailure::Tls).explained(what);

    let provider = provider.ok_or_else(|| refused(provider::MISSING.to_owned()))?;
    let verifier = match trust {
        Trust::Anyone => Verifier::of_anyone(Arc::clone(&provider)),
        trust => verifier(trust, tls, &provider).map_err(refused)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &tls.client_cert {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert).map_err(refused)?;
            let key = private_key(key).map_err(refused)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| refused(format!("cannot use {}: {error}", cert.display())))?
        }
    };
    // Direct TLS (PostgreSQL 17) requires it, and negotiated TLS allows it.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// Trusts the file of the URL, or else the system's authorities. In both cases it also trusts
/// certificates from memory.
fn verifier(trust: Trust, tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Verifier, String> {
    let mut store = RootCertStore::empty();
    let mut roots = match &tls.root_cert {
        Some(path) => certificates(path)?,
        None => {
            let system = rustls_native_certs::load_native_certs().certs;
            let _ignored = store.add_parsable_certificates(system);
            Vec::new()
        }
    };
    for pem in &tls.extra_roots {
        let extra = certificates_in(pem);
        roots.extend(extra.map_err(|error| format!("a root certificate from memory: {error}"))?);
    }
    for root in &roots {
        store
            .add(root.clone())
            .map_err(|error| match &tls.root_cert {
                Some(path) => format!("{} holds no usable root: {error}", path.display()),
                None => format!("a root certificate from memory is not usable: {error}"),
            })?;
    }
    if store.is_empty() {
        let advice = "the system has no root certificates; name a file with sslrootcert";
        return Err(advice.to_owned());
    }
    Verifier::new(trust, store, roots, Arc::clone(provider))
}
