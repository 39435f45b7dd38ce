//! The formats of a secret in one text: JSON, a URL, or only the password.

use std::fmt;
use std::time::Duration;

use db_config::{Credentials, Endpoint, Host, PooledUrl, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::Value;

use crate::credentials::source::{CredentialsError, CredentialsProblem, Fetched};
use crate::credentials::timestamp;

/// Reads a secret. `user` is the user for a secret that names none.
///
/// A text that begins with `{` has to be one of these, so that half of a file is never taken for a password:
///
/// - ours: `{"version": 1, "username", "password", "expires_at", "fallback", "host", "port"}`
/// - AWS Secrets Manager: `{"username", "password", "host", "port", "dbname"}`
/// - Vault: `{"lease_duration", "data": {"username", "password"}}`; its key-value store nests another `data` inside
pub(super) fn read(text: &str, user: &str, origin: &str) -> Result<Fetched, CredentialsError> {
    let text = trimmed(text);
    if text.trim().is_empty() {
        return Err(CredentialsError::of(origin, CredentialsProblem::Empty));
    }
    if text.trim_start().starts_with('{') {
        return read_json(text, user, origin);
    }
    if is_url(text) {
        return read_url(text.trim(), origin);
    }
    Ok(Fetched::new(Credentials::new(user, text)))
}

/// The secret without the byte order mark and the line ends that an editor adds; spaces belong to the secret.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
        .trim_end_matches(['\r', '\n'])
}

fn is_url(text: &str) -> bool {
    let scheme = text.trim_start().split("://").next().unwrap_or_default();
    text.contains("://")
        && ["postgres", "postgresql"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Reads user, password and host of a URL.
pub(super) fn read_url(text: &str, origin: &str) -> Result<Fetched, CredentialsError> {
    let url = PooledUrl::parse(text).map_err(|error| {
        // The parser's error names the wrong parts, and quotes none that may be secret.
        CredentialsError::of(origin, CredentialsProblem::Malformed).explained(error.to_string())
    })?;
    let endpoint = Endpoint::from(url);
    let Some(password) = endpoint.password else {
        let error = CredentialsError::of(origin, CredentialsProblem::Incomplete);
        return Err(error.explained("the URL has no password"));
    };
    let mut fetched = Fetched::new(Credentials::new(endpoint.user, password));
    if let [Host::Tcp { name, port, .. }] = endpoint.hosts.as_slice() {
        (fetched.host, fetched.port) = (Some(name.clone()), Some(*port));
    }
    Ok(fetched)
}

fn read_json(text: &str, user: &str, origin: &str) -> Result<Fetched, CredentialsError> {
    let malformed =
        |why: String| CredentialsError::of(origin, CredentialsProblem::Malformed).explained(why);
    // The text of serde's error quotes values, so only the position is reported.
    let document: Document = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        malformed(format!(
            "expected a JSON object with `username` and `password`; wrong at line {line}, column {column}"
        ))
    })?;
    if document.version.is_some_and(|version| version != 1) {
        return Err(malformed("expected `version` to be 1".to_owned()));
    }
    let expected = |key: &str, what: &str| malformed(format!("expected `{key}` to be {what}"));
    let port = document.port.map(|port| read_port(&port).ok_or("a port"));
    let port = port.transpose().map_err(|what| expected("port", what))?;
    let expires_at = document
        .expires_at
        .map(|at| timestamp::read(&at).ok_or("a time"));
    let expires_at = expires_at
        .transpose()
        .map_err(|what| expected("expires_at", what))?;
    let lease = document.lease_duration.filter(|seconds| *seconds > 0);
    let inner = match document.data {
        Some(data) => match data.data {
            Some(inner) => *inner,
            None => Part {
                username: data.username,
                password: data.password,
            },
        },
        None => Part {
            username: document.username,
            password: document.password,
        },
    };
    let mut fetched = Fetched::new(credentials(inner, user, origin)?);
    if let Some(seconds) = lease {
        fetched = fetched.leased_for(Duration::from_secs(seconds));
    }
    if let Some(at) = expires_at {
        fetched = fetched.expires_at(at);
    }
    if let Some(fallback) = document.fallback {
        fetched = fetched.or(credentials(*fallback, user, origin)?);
    }
    fetched.host = document.host.filter(|host| !host.is_empty());
    fetched.port = port;
    Ok(fetched)
}

fn credentials(part: Part, user: &str, origin: &str) -> Result<Credentials, CredentialsError> {
    let Some(Text { secret, .. }) = part.password.filter(|password| !password.is_empty) else {
        let error = CredentialsError::of(origin, CredentialsProblem::Incomplete);
        return Err(error.explained("it has no `password`"));
    };
    let name = part.username.filter(|name| !name.is_empty());
    Ok(Credentials::new(
        name.unwrap_or_else(|| user.to_owned()),
        secret,
    ))
}

#[derive(Deserialize)]
struct Document {
    version: Option<u32>,
    username: Option<String>,
    password: Option<Text>,
    host: Option<String>,
    port: Option<Value>,
    expires_at: Option<Value>,
    lease_duration: Option<u64>,
    data: Option<Data>,
    fallback: Option<Box<Part>>,
}

#[derive(Deserialize)]
struct Data {
    username: Option<String>,
    password: Option<Text>,
    data: Option<Box<Part>>,
}

#[derive(Deserialize)]
struct Part {
    username: Option<String>,
    password: Option<Text>,
}

/// A string that is wiped when it is dropped.
struct Text {
    secret: SecretString,
    is_empty: bool,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text {
            secret: SecretString::from(text),
            is_empty: text.is_empty(),
        })
    }
}

/// A port as a number or as a text.
fn read_port(port: &Value) -> Option<u16> {
    match port {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_u64()?.try_into().ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn read_as(text: &str) -> Result<Fetched, CredentialsError> {
        read(text, "app", "the file `/s`")
    }

    fn is(fetched: &Fetched, user: &str, password: &str) -> bool {
        fetched.credentials.are(&Credentials::new(user, password))
    }

    /// case R46
    #[test]
    fn plain_text_is_the_password_without_what_an_editor_leaves() {
        for text in [
            "pass word",
            "\u{feff}pass word",
            "pass word\r\n",
            "pass word\n\n",
        ] {
            assert!(is(&read_as(text).unwrap(), "app", "pass word"), "{text:?}");
        }
        assert!(is(&read_as(" blank ").unwrap(), "app", " blank "));
        for text in ["", "\n", "\u{feff}\r\n", "  "] {
            let error = read_as(text).unwrap_err();
            assert_eq!(error.to_string(), "the file `/s` is empty", "{text:?}");
        }
    }

    #[test]
    fn each_json_is_understood_as_its_store_writes_it() {
        let ours = r#"{"version":1,"username":"u","password":"p\"\u00e4","expires_at":"2100-01-01T00:00:00Z"}"#;
        let fetched = read_as(ours).unwrap();
        assert!(is(&fetched, "u", "p\"ä") && !fetched.is_lease);
        assert!(fetched.expires_at.unwrap() > SystemTime::now());

        let aws = r#"{"engine":"postgres","username":"u","password":"p","host":"h","port":"5433","dbname":"d"}"#;
        let fetched = read_as(aws).unwrap();
        assert_eq!(
            (fetched.host.as_deref(), fetched.port),
            (Some("h"), Some(5433))
        );
        assert!(fetched.expires_at.is_none());

        let vault = r#"{"request_id":"x","lease_duration":3600,"data":{"username":"v","password":"p"},"warnings":null}"#;
        let fetched = read_as(vault).unwrap();
        assert!(is(&fetched, "v", "p") && fetched.is_lease && fetched.expires_at.is_some());

        let kept =
            r#"{"lease_duration":0,"data":{"data":{"username":"k","password":"p"},"metadata":{}}}"#;
        let fetched = read_as(kept).unwrap();
        assert!(is(&fetched, "k", "p") && !fetched.is_lease);

        let two = r#"{"password":"new","fallback":{"password":"old"}}"#;
        let fetched = read_as(two).unwrap();
        assert!(is(&fetched, "app", "new"));
        assert!(
            fetched
                .fallback
                .unwrap()
                .are(&Credentials::new("app", "old"))
        );

        let fetched = read_as("postgresql://u:p%40@db:5434/d").unwrap();
        assert!(is(&fetched, "u", "p@"));
        assert_eq!(
            (fetched.host.as_deref(), fetched.port),
            (Some("db"), Some(5434))
        );
    }

    /// case R49: the error says what is wrong and quotes nothing of the secret.
    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        for (text, problem) in [
            (
                r#"{"username":"u","password":"canary"#,
                CredentialsProblem::Malformed,
            ),
            (
                r#"{"version":"canary","password":"canary"}"#,
                CredentialsProblem::Malformed,
            ),
            (
                r#"{"version":2,"password":"canary"}"#,
                CredentialsProblem::Malformed,
            ),
            (
                r#"{"password":"canary","port":"canary"}"#,
                CredentialsProblem::Malformed,
            ),
            (r#"{"password":["canary"]}"#, CredentialsProblem::Malformed),
            (
                r#"{"user":"canary","pass":"canary"}"#,
                CredentialsProblem::Incomplete,
            ),
            (r#"{"password":""}"#, CredentialsProblem::Incomplete),
            ("postgres://canary@h/d", CredentialsProblem::Incomplete),
            (
                "postgres://u:can@ry@h:canary/d",
                CredentialsProblem::Malformed,
            ),
        ] {
            let error = read_as(text).unwrap_err();
            assert_eq!(error.problem(), problem, "{text}: {error}");
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("canary") && !shown.contains("ry@"),
                "{shown}"
            );
        }
    }
}
