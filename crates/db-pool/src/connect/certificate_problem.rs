//! The problem of a certificate.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// What is wrong with a certificate: the server's, or the client's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// The server's certificate is for another name than the host's.
    WrongName,
    /// The server's certificate has expired, or is not valid yet.
    Expired,
    /// No trusted authority has signed the server's certificate.
    NotTrusted,
    /// The server does not accept the client's certificate, or it wants one and got none.
    ClientRefused,
}

impl CertificateProblem {
    /// The problem that one error of a chain reports.
    pub(crate) fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        // An io::Error does not return its wrapped error as its source.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|wrapped| wrapped.downcast_ref::<TlsError>());
        match error.downcast_ref::<TlsError>().or(wrapped)? {
            TlsError::InvalidCertificate(problem) => Some(match problem {
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                _ => Self::NotTrusted,
            }),
            TlsError::AlertReceived(
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRequired
                | AlertDescription::UnknownCA,
            ) => Some(Self::ClientRefused),
            _ => None,
        }
    }
}
