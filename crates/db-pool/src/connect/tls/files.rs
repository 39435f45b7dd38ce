//! The files of certificates and keys. An error says what is wrong with a file and what to do about
//! it.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Every certificate in a file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = certificates_in(&contents(path)?);
    match found {
        Ok(found) if found.is_empty() => Err(format!(
            "{} holds no certificate: expected PEM, which begins with -----BEGIN CERTIFICATE-----",
            path.display()
        )),
        found => found.map_err(|error| format!("cannot read {}: {error}", path.display())),
    }
}

/// Every certificate in a text of PEM.
pub(crate) fn certificates_in(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_slice_iter(pem);
    certificates
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// The private key in a file: PEM, or DER, which libpq accepts too.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let contents = contents(path)?;
    if contents.starts_with(&[DER_SEQUENCE]) {
        return PrivateKeyDer::try_from(contents)
            .map_err(|error| format!("cannot read {}: {error}", path.display()));
    }
    let text = String::from_utf8_lossy(&contents);
    let name = path.display();
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "the private key in {name} is encrypted, and there is nobody to ask for its passphrase: write it in the \
             clear with `openssl pkey -in {name} -out <file>`, readable only by the service, and name that file \
             with sslkey"
        ));
    }
    if text.contains("BEGIN OPENSSH PRIVATE KEY") {
        return Err(format!(
            "the private key in {name} is in the format of OpenSSH: `ssh-keygen -p -m PKCS8 -f {name}` converts \
             it to one that TLS can use"
        ));
    }
    PrivateKeyDer::from_pem_slice(&contents).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => format!(
            "{name} holds no private key: expected PEM, which begins with -----BEGIN PRIVATE KEY-----"
        ),
        error => format!("cannot read {name}: {error}"),
    })
}

fn contents(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(contents: &[u8]) -> String {
        let path = std::env::temp_dir().join(format!("db-pool-key-{}", fastrand::u64(..)));
        std::fs::write(&path, contents).unwrap();
        let refusal = private_key(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        refusal
    }

    /// "no items found" would help nobody.
    #[test]
    fn a_key_that_cannot_be_used_is_refused_in_words() {
        for (contents, word) in [
            (&b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"[..], "encrypted"),
            (b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n", "encrypted"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n", "ssh-keygen"),
            (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "holds no private key"),
            (b"", "holds no private key"),
            (b"0\x00\x01\x02", "cannot read"),
        ] {
            let refusal = refusal(contents);
            assert!(refusal.contains(word), "{refusal}");
        }
        let missing = private_key(Path::new("/nonexistent/key.pem")).unwrap_err();
        assert!(missing.contains("/nonexistent/key.pem"), "{missing}");
    }
}
