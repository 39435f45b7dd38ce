//! Certificates for tests: valid ones, for another name, expired ones, for clients.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::HarnessError;
use crate::folder::random_word;

/// A certificate authority made for one test.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
#[non_exhaustive]
pub struct Certificate {
    /// The certificate.
    pub cert: String,
    /// The private key, PKCS#8.
    pub key: String,
    /// The certificate of the authority that signed it.
    pub authority: String,
}

impl Authority {
    /// A new authority with a key of its own.
    pub fn new() -> Result<Self, HarnessError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Two authorities with one name would differ only in their keys.
        params.distinguished_name.push(
            DnType::CommonName,
            format!("test authority {}", random_word()?),
        );
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
        })
    }

    /// The authority's own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A server certificate for `localhost` and 127.0.0.1.
    pub fn server(&self) -> Result<Certificate, HarnessError> {
        self.server_named(&["localhost", "127.0.0.1"])
    }

    /// A server certificate for other names or addresses.
    pub fn server_named(&self, names: &[&str]) -> Result<Certificate, HarnessError> {
        self.sign(server_params(names)?)
    }

    /// A server certificate for `localhost` and 127.0.0.1 that ended in 2021.
    pub fn expired_server(&self) -> Result<Certificate, HarnessError> {
        let mut params = server_params(&["localhost", "127.0.0.1"])?;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    /// A client certificate for the database user `user`.
    pub fn client(&self, user: &str) -> Result<Certificate, HarnessError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<Certificate, HarnessError> {
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        Ok(Certificate {
            cert: cert.pem(),
            key: key.serialize_pem(),
            authority: self.pem(),
        })
    }
}

impl Certificate {
    /// A certificate that another program has made and that is its own authority.
    pub fn made_elsewhere(cert: &str, key: &str) -> Self {
        Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            authority: cert.to_owned(),
        }
    }
}

fn server_params(names: &[&str]) -> Result<CertificateParams, HarnessError> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "test server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("cert", &self.cert)
            .finish_non_exhaustive()
    }
}
