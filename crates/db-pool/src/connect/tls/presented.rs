//! A server's certificate, read without a check that servers may use it. It may have any version, and may be
//! an authority's.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, PeerIncompatible};
use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};

/// The certificate that a server has shown.
pub(crate) struct Presented {
    certificate: Certificate,
}

impl Presented {
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let certificate = Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding)?;
        Ok(Self { certificate })
    }

    /// Checks that it is valid at this time.
    pub(crate) fn check_time(&self, now: UnixTime) -> Result<(), TlsError> {
        let validity = &self.certificate.tbs_certificate.validity;
        let seconds = now.as_secs();
        if seconds < validity.not_before.to_unix_duration().as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        if seconds > validity.not_after.to_unix_duration().as_secs() {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }

    /// Checks that it is for this server, by libpq's rule: by its alternative names, or by its common name
    /// if it has no alternative names.
    pub(crate) fn check_name(
        &self,
        der: &CertificateDer<'_>,
        server: &ServerName<'_>,
    ) -> Result<(), TlsError> {
        if self.has_alternative_names() {
            let parsed = ParsedCertificate::try_from(der)?;
            return rustls::client::verify_server_name(&parsed, server);
        }
        match self
            .common_name()
            .is_some_and(|name| matches(&name, &server.to_str()))
        {
            true => Ok(()),
            false => Err(TlsError::General(format!(
                "the server's certificate is not valid for name {:?}, but for {:?}",
                server.to_str(),
                self.common_name().unwrap_or_default()
            ))),
        }
    }

    /// Checks that its key has signed the handshake.
    pub(crate) fn check_signature(
        &self,
        message: &[u8],
        signed: &DigitallySignedStruct,
        known: &WebPkiSupportedAlgorithms,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let key = &self.certificate.tbs_certificate.subject_public_key_info;
        let kind = key
            .algorithm
            .to_der()
            .map_err(|_| CertificateError::BadEncoding)?;
        let mut algorithms = known
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            // rustls has only the contents, without the header of the SEQUENCE.
            .filter(|algorithm| kind.get(2..) == Some(&*algorithm.public_key_alg_id()))
            .peekable();
        if algorithms.peek().is_none() {
            return Err(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon.into());
        }
        let key = key.subject_public_key.raw_bytes();
        let valid = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            algorithm
                .verify_signature(key, message, signed.signature())
                .is_ok()
        };
        match algorithms.any(valid) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn has_alternative_names(&self) -> bool {
        let extensions = self.certificate.tbs_certificate.extensions.iter().flatten();
        extensions
            .into_iter()
            .any(|one| one.extn_id == ALTERNATIVE_NAMES)
    }

    fn common_name(&self) -> Option<String> {
        let names = self.certificate.tbs_certificate.subject.0.iter();
        let attributes = names.flat_map(|name| name.0.iter());
        let value = &attributes.rev().find(|one| one.oid == COMMON_NAME)?.value;
        let utf8 = value.decode_as::<Utf8StringRef<'_>>().ok();
        utf8.map(|text| text.as_str().to_owned())
            .or_else(|| {
                let text = value.decode_as::<PrintableStringRef<'_>>().ok()?;
                Some(text.as_str().to_owned())
            })
            .or_else(|| {
                let text = value.decode_as::<TeletexStringRef<'_>>().ok()?;
                Some(text.as_str().to_owned())
            })
    }
}

/// Compares a common name as libpq does: case does not matter, and `*.` stands for one label.
fn matches(name: &str, server: &str) -> bool {
    let is_same = name.eq_ignore_ascii_case(server);
    let behind_star = name.strip_prefix("*.").zip(server.split_once('.'));
    is_same
        || behind_star.is_some_and(|(name, (label, server))| {
            !label.is_empty() && name.eq_ignore_ascii_case(server)
        })
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

const ALTERNATIVE_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_matches_as_libpq_has_it() {
        assert!(matches("DB.example.com", "db.example.com"));
        assert!(matches("*.example.com", "db.example.com"));
        assert!(!matches("*.example.com", "a.db.example.com"));
        assert!(!matches("*.example.com", "example.com"));
        assert!(!matches("*.example.com", ".example.com"));
        assert!(!matches("db.example.com", "db.example.org"));
    }
}
