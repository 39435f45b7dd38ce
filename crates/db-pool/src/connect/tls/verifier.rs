//! Decides which server to accept, with libpq's meaning of `sslmode`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::connect::tls::presented::Presented;

/// How much of the server's certificate must be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Anyone,
    Chain,
    ChainAndName,
}

/// Verifies what a [`Trust`] requires, and always that the server has the key of the certificate that it
/// shows.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    /// `None` if every server is trusted.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// A server that shows one of these as its own certificate is trusted, whatever the certificate's form.
    roots: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(crate) fn of_anyone(provider: Arc<CryptoProvider>) -> Self {
        Self {
            trust: Trust::Anyone,
            chain: None,
            roots: Vec::new(),
            provider,
        }
    }

    /// `roots` are the certificates that a server may show as its own; `store` has them and all others.
    pub(crate) fn new(
        trust: Trust,
        store: RootCertStore,
        roots: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let chain =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider))
                .build()
                .map_err(|error| error.to_string())?;
        Ok(Self {
            trust,
            chain: Some(chain),
            roots,
            provider,
        })
    }

    /// Whether to accept the certificate of an authority that the server shows as its own, as OpenSSL does.
    fn check_root(
        &self,
        shown: &CertificateDer<'_>,
        server: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let presented = Presented::read(shown)?;
        presented.check_time(now)?;
        match self.trust {
            Trust::ChainAndName => presented.check_name(shown, server),
            _ => Ok(()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let trusted = Ok(ServerCertVerified::assertion());
        let Some(chain) = &self.chain else {
            return trusted;
        };
        let verdict =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Ok(verified) => Ok(verified),
            // webpki checks the name last, so an error about the name means that the chain was right.
            Err(error) if is_about_the_name(&error) => {
                if self.trust == Trust::ChainAndName {
                    let named = Presented::read(end_entity)?.check_name(end_entity, server_name);
                    // Its own error message lists the names in the certificate.
                    named.map_err(|_| error)?;
                }
                trusted
            }
            Err(_) if self.roots.iter().any(|root| root == end_entity) => {
                self.check_root(end_entity, server_name, now)?;
                trusted
            }
            Err(error) => Err(in_words(error)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls12_signature(message, cert, dss, algorithms) {
            Err(error) if is_about_the_form(&error) => {
                Presented::read(cert)?.check_signature(message, dss, algorithms)
            }
            verdict => verdict,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match verify_tls13_signature(message, cert, dss, algorithms) {
            Err(error) if is_about_the_form(&error) => {
                Presented::read(cert)?.check_signature(message, dss, algorithms)
            }
            verdict => verdict,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn is_about_the_name(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

/// Whether the error is about the form. rustls has no specific error for a certificate that webpki cannot
/// read, such as one of version 1.
fn is_about_the_form(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::InvalidCertificate(CertificateError::Other(_) | CertificateError::BadEncoding)
    )
}

/// Explains the error, and adds advice, if OpenSSL would accept the certificate and rustls does not.
fn in_words(error: TlsError) -> TlsError {
    let TlsError::InvalidCertificate(about) = &error else {
        return error;
    };
    let reason = match about {
        CertificateError::Other(other) => other.to_string(),
        _ => String::new(),
    };
    let advice = if reason.contains("UnsupportedCertVersion") {
        "the server's certificate is of X.509 version 1, which is not verified here: have it issued as version 3, \
         or name this certificate itself with sslrootcert"
    } else if reason.contains("CaUsedAsEndEntity") {
        "the server's certificate is an authority's (CA:TRUE): have one issued for the server, or name this \
         certificate itself with sslrootcert"
    } else if matches!(
        about,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    ) {
        "the server's certificate is signed by a key of a kind that is not verified here (RSA of 2048 to 8192 bits, \
         ECDSA on P-256 and P-384, and Ed25519 are): have it signed by another"
    } else {
        return error;
    };
    TlsError::General(advice.to_owned())
}
