//! `.pgpass`: passwords by host, port, database and user.

use std::path::Path;

use crate::endpoint::{Endpoint, Host};
use crate::secret_file;

/// The password for the endpoint, if the file has one. The error says why this crate ignores the
/// file.
pub(crate) fn password(
    file: &Path,
    endpoint: &Endpoint,
    must_exist: bool,
) -> Result<Option<String>, String> {
    let shown = file.display();
    let metadata = match std::fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(_) if !must_exist => return Ok(None),
        Err(error) => return Err(format!("{shown} is ignored: {}", error.kind())),
    };
    if !metadata.is_file() {
        return Err(format!("{shown} is ignored: it is not a plain file"));
    }
    if secret_file::mode(&metadata) & 0o077 != 0 {
        return Err(format!(
            "{shown} is ignored: group or others have access; set its mode to 0600"
        ));
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{shown} is ignored: {}", error.kind()))?;
    Ok(endpoint
        .hosts
        .iter()
        .find_map(|host| find(&text, host, endpoint)))
}

fn find(text: &str, host: &Host, endpoint: &Endpoint) -> Option<String> {
    let name = match host {
        Host::Tcp { name, .. } => name.clone(),
        // For a socket in a default directory, libpq looks for the password of localhost.
        Host::Unix { dir, .. } if DEFAULT_DIRS.iter().any(|default| dir == Path::new(default)) => {
            "localhost".to_owned()
        }
        Host::Unix { dir, .. } => dir.display().to_string(),
    };
    let wanted = [
        &name,
        &host.port().to_string(),
        &endpoint.dbname,
        &endpoint.user,
    ];
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| matching(line, &wanted))
}

/// The password of a line whose four fields match.
fn matching(line: &str, wanted: &[&String; 4]) -> Option<String> {
    let mut rest = line.trim_end_matches('\r');
    for wanted in wanted {
        let (field, raw, after) = field(rest)?;
        if raw != "*" && field != **wanted {
            return None;
        }
        rest = after;
    }
    let password = unescape(rest);
    (!password.is_empty()).then_some(password)
}

/// Returns the first field twice, without its escapes and as written, and the text after its colon.
fn field(text: &str) -> Option<(String, &str, &str)> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            ':' if !escaped => return Some((unescape(&text[..i]), &text[..i], &text[i + 1..])),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        });
    }
    plain
}

const DEFAULT_DIRS: [&str; 2] = ["/tmp", "/var/run/postgresql"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PooledUrl;

    fn lookup(text: &str, url: &str) -> Option<String> {
        let url = PooledUrl::parse(url).unwrap();
        find(text, &url.endpoint().hosts[0], url.endpoint())
    }

    #[test]
    fn the_first_line_that_matches_wins_and_stars_match_all() {
        let text = "# c\nh:5432:d:other:no\nh:5433:*:u:port\n*:*:*:u:any\r\n*:*:*:u:late";
        assert_eq!(lookup(text, "postgres://u@h/d").as_deref(), Some("any"));
        assert_eq!(
            lookup(text, "postgres://u@h:5433/d").as_deref(),
            Some("port")
        );
        assert_eq!(lookup(text, "postgres://x@h/d"), None);
    }

    #[test]
    fn escapes_carry_colons_and_backslashes() {
        let text = r"h\:x:5432:d:u:no
h:5432:a\:b:u\\v:p\:w\\d:e";
        assert_eq!(
            lookup(text, r"postgres://u%5Cv@h/a:b").as_deref(),
            Some(r"p:w\d:e")
        );
        assert_eq!(
            lookup(r"h:5432:\*:u:p", "postgres://u@h/d"),
            None,
            "an escaped star is a star"
        );
    }

    #[test]
    fn sockets_of_the_default_directories_are_localhost() {
        let text = "localhost:5432:d:u:near\n/run/x:5432:d:u:socket";
        assert_eq!(
            lookup(text, "postgres://u@/d?host=/tmp").as_deref(),
            Some("near")
        );
        assert_eq!(
            lookup(text, "postgres://u@/d?host=/run/x").as_deref(),
            Some("socket")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_ignored_with_a_reason() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pgpass");
        std::fs::write(&file, "*:*:*:*:canary").unwrap();
        let endpoint = PooledUrl::parse("postgres://u@h/d")
            .unwrap()
            .into_endpoint();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let reason = password(&file, &endpoint, false).unwrap_err();
        assert!(
            reason.contains("0600") && !reason.contains("canary"),
            "{reason}"
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(password(&file, &endpoint, false), Ok(Some("canary".into())));
        let missing = dir.path().join("none");
        assert_eq!(password(&missing, &endpoint, false), Ok(None));
        assert!(password(&missing, &endpoint, true).is_err());
    }
}
