//! Reads the server settings of a URL.

use std::collections::BTreeMap;

use crate::url::options;
use crate::url::param_reader::ParamReader;

/// Returns the settings under their names in lower case, and the name of the application.
pub(super) fn read(reader: &mut ParamReader<'_>) -> (BTreeMap<String, String>, Option<String>) {
    let mut settings = match reader.text("options").as_deref().map(options::parse) {
        Some(Ok(settings)) => settings,
        Some(Err(problem)) => {
            reader.problem("options", problem);
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    if let Some(name) = reader.either("search_path", "schema")
        && let Some(value) = reader.text(name)
    {
        let path = match name {
            "schema" => options::quoted(&value),
            _ => value,
        };
        settings.insert("search_path".to_owned(), path);
    }
    if let Some(zone) = reader
        .either("TimeZone", "timezone")
        .and_then(|name| reader.text(name))
    {
        settings.insert("timezone".to_owned(), zone);
    }
    for name in TIMEOUTS {
        let Some(value) = reader.even_empty(name) else {
            continue;
        };
        match is_server_duration(&value) {
            true => drop(settings.insert(name.to_owned(), value)),
            false => reader.problem(
                name,
                format!("expected milliseconds or a duration such as 30s, found {value:?}"),
            ),
        }
    }
    let encoding = reader
        .text("client_encoding")
        .or_else(|| settings.remove("client_encoding"));
    if let Some(encoding) = encoding {
        match UTF8.iter().any(|name| encoding.eq_ignore_ascii_case(name)) {
            true => drop(settings.insert("client_encoding".to_owned(), "UTF8".to_owned())),
            false => reader.problem("client_encoding", "only UTF8 works with Rust's text"),
        }
    }
    let named = settings.remove("application_name");
    let application_name = reader
        .text("application_name")
        .or(named)
        .or_else(|| reader.text("fallback_application_name"));
    (settings, application_name)
}

/// Whether the text is a number, alone or with one of PostgreSQL's units of time.
fn is_server_duration(text: &str) -> bool {
    let text = text.trim();
    let digits = text
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .trim_end();
    let unit = text[digits.len()..].trim();
    digits.parse::<u32>().is_ok() && ["", "us", "ms", "s", "min", "h", "d"].contains(&unit)
}

const TIMEOUTS: [&str; 3] = [
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
];

/// `auto` means the encoding of the locale. For a Rust program that is UTF-8.
const UTF8: [&str; 4] = ["UTF8", "UTF-8", "UNICODE", "auto"];
