//! The one place in this crate that reads a secret.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// The text of a secret: for parsing, for comparing, or for a URL that is a secret itself.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the only place where the crate reads a secret"
)]
pub(crate) fn revealed(secret: &SecretString) -> &str {
    secret.expose_secret()
}

/// Reads a file that holds a secret into memory that is wiped afterwards.
///
/// # Errors
///
/// The error of the system; `FileTooLarge` for more than this many bytes; `ResourceBusy` if the file grows
/// meanwhile.
pub fn read_secret_file(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path)?;
    // A vector that grows leaves its old content behind in memory. So it has all its room before the first byte: one
    // byte more than the file has, and enough for a file without a length, such as a pipe.
    let room = match usize::try_from(file.metadata()?.len()) {
        Ok(length @ 1..) if length < most => length + 1,
        _ => most + 1,
    };
    let mut bytes = Zeroizing::new(vec![0; room]);
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if length == room {
            // It has grown since, or is too long.
            return Err(match room > most {
                true => io::ErrorKind::FileTooLarge,
                false => io::ErrorKind::ResourceBusy,
            }
            .into());
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}
