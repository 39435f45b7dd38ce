//! TLS by rustls, with libpq's meaning of `sslmode`.

use std::path::Path;
use std::sync::Arc;

use db_config::{Tls, TlsMode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::connect::provider;

/// Prepares what a handshake needs; `None` where TLS is off.
///
/// Reads the certificate files, so it is called once per pool and not per connection.
///
/// | `sslmode` | encrypted | chain | name |
/// |---|---|---|---|
/// | `disable` | no | | |
/// | `allow`, `prefer` | where the server can | no | no |
/// | `require` | yes | only with a root certificate, as libpq does | no |
/// | `verify-ca` | yes | yes | no |
/// | `verify-full` | yes | yes | yes |
pub(crate) fn prepare(tls: &Tls, address: &str) -> Result<Option<MakeRustlsConnect>, ConnectError> {
    // Also where there is no TLS: what this crate brings is in the process either way.
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
    let verifier = verifier(trust, tls.root_cert.as_deref(), &provider).map_err(refused)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &tls.client_cert {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = certificates(cert).map_err(refused)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| refused(format!("cannot read {}: {error}", key.display())))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| refused(format!("cannot use {}: {error}", cert.display())))?
        }
    };
    // Direct TLS (PostgreSQL 17) insists on it; negotiated TLS does not mind.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Some(MakeRustlsConnect::new(config)))
}

/// How much of the server's certificate must be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Anyone,
    Chain,
    ChainAndName,
}

fn verifier(
    trust: Trust,
    root_cert: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if trust == Trust::Anyone {
        return Ok(Arc::new(Unverified(Arc::clone(provider))));
    }
    let chain = WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots(root_cert)?),
        Arc::clone(provider),
    )
    .build()
    .map_err(|error| error.to_string())?;
    Ok(match trust {
        Trust::ChainAndName => chain,
        _ => Arc::new(AnyName(chain)),
    })
}

fn roots(root_cert: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match root_cert {
        Some(path) => {
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{} holds no usable root: {error}", path.display()))?;
            }
        }
        None => {
            let _ignored =
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(match root_cert {
            Some(path) => format!("{} holds no certificate", path.display()),
            None => "the system has no root certificates; name a file with sslrootcert".to_owned(),
        });
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", path.display());
    CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)
}

/// Encrypts without asking who is there: `sslmode=require` without a root certificate.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies the chain but not the name: `sslmode=verify-ca`.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        // webpki checks the name last: an error about the name means that the chain was right.
        match self
            .0
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
