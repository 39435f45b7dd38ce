//! Reads files that hold a secret. Docker and Kubernetes mount them, and a `*_FILE` variable names them.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::Problem;
use crate::origin::Origin;
use crate::revealed::read_secret_file;
use crate::variables::Variables;

/// Returns the content without BOM and trailing line break, and a warning if everyone can read the file.
pub(crate) fn read(path: &Path) -> Result<(String, Option<String>), String> {
    let shown = path.display();
    let bytes = read_secret_file(path, MOST).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("the file {shown} does not exist"),
        kind => format!("the file {shown} cannot be read: {kind}"),
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("the file {shown} is not UTF-8"))?;
    let text = text
        .trim_start_matches('\u{feff}')
        .trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(format!("the file {shown} is empty"));
    }
    Ok((text.to_owned(), warning(path)))
}

/// A warning if everyone can read the file.
pub(crate) fn warning(path: &Path) -> Option<String> {
    let open = std::fs::metadata(path).is_ok_and(|metadata| mode(&metadata) & 0o004 != 0);
    open.then(|| {
        let shown = path.display();
        format!("{shown} can be read by everyone on this machine; its mode should be 0400")
    })
}

/// Returns the value of a variable, or the content of the file that its `_FILE` twin names.
///
/// Setting both is a problem.
pub(crate) fn text_or_file(
    variables: &Variables,
    name: &str,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<(String, Origin)> {
    let twin = format!("{name}_FILE");
    let unreadable = [name, &twin].map(|name| variables.unreadable(name));
    if unreadable.iter().any(Option::is_some) {
        problems.extend(unreadable.into_iter().flatten());
        return None;
    }
    match (variables.find(name), variables.find(&twin)) {
        (Some(text), Some(file)) => {
            let message = format!("{} is set too; set one of the two", file.origin);
            problems.push(Problem::new(name, text.origin, message));
            None
        }
        (Some(text), None) => Some((text.value.to_owned(), text.origin)),
        (None, Some(file)) => {
            let path = dir.join(file.value.trim());
            match read(&path) {
                Ok((text, warning)) => {
                    warnings.extend(warning.map(|warning| format!("{}: {warning}", file.origin)));
                    let origin = format!("{} ({})", file.origin, file.value.trim());
                    Some((text, Origin::new(origin)))
                }
                Err(message) => {
                    problems.push(Problem::new(twin, file.origin, message));
                    None
                }
            }
        }
        (None, None) => None,
    }
}

/// The maximal size of a file with a secret, in bytes.
const MOST: usize = 64 * 1024;

/// The permission bits of a file.
#[cfg(unix)]
pub(crate) fn mode(metadata: &Metadata) -> u32 {
    std::os::unix::fs::MetadataExt::mode(metadata)
}

/// Other systems have no such bits, so nothing is open to others.
#[cfg(not(unix))]
pub(crate) fn mode(_metadata: &Metadata) -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// case R46: BOM, CRLF and a trailing newline are no part of the secret.
    #[test]
    fn bom_and_line_break_are_stripped_and_blanks_inside_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        std::fs::write(&file, "\u{feff}postgres://u@h/d \r\n").unwrap();
        assert_eq!(read(&file).unwrap().0, "postgres://u@h/d ");
    }

    /// case R46: an empty file is an error, a missing one too.
    #[test]
    fn an_empty_or_missing_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        assert!(read(&file).unwrap_err().contains("does not exist"));
        std::fs::write(&file, "\r\n").unwrap();
        assert!(read(&file).unwrap_err().contains("is empty"));
    }

    /// case R46: a world-readable file is a warning.
    #[cfg(unix)]
    #[test]
    fn a_file_that_everyone_can_read_is_a_warning() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("url");
        std::fs::write(&file, "x").unwrap();
        for (mode, warns) in [(0o644, true), (0o640, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&file).unwrap().1.is_some(), warns, "{mode:o}");
        }
    }
}
