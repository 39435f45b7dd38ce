//! The scheme of a URL, and advice if it is another one.

use crate::nearest;

/// Returns what follows `postgres://` or `postgresql://`.
pub(super) fn after(url: &str) -> Result<&str, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("{EXPECTED}{}", without_slashes(url)));
    };
    if KNOWN.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Ok(rest);
    }
    let lower = scheme.to_ascii_lowercase();
    let hint = if lower.starts_with(['"', '\'']) {
        "; remove the quotes around the URL"
    } else if lower.starts_with("psql ") {
        "; remove `psql` and the quotes around the URL"
    } else if lower.starts_with("jdbc:") {
        "; remove `jdbc:` and put user and password before the host"
    } else if lower.starts_with("r2dbc:") {
        "; remove `r2dbc:` and put user and password before the host"
    } else if is_pasted_with_its_name(&lower) {
        "; remove the name and the `=` before the URL"
    } else if lower.starts_with("postgres") && lower.contains('+') {
        "; remove the driver's name after `+`"
    } else if ALIASES.contains(&lower.as_str()) || nearest::nearest(&lower, KNOWN).is_some() {
        "; write `postgres://`"
    } else {
        "; this is the URL of something else"
    };
    Err(format!("{EXPECTED}{hint}"))
}

/// The hint for a text without `://`.
fn without_slashes(text: &str) -> &'static str {
    let lower = text.to_ascii_lowercase();
    if text.starts_with(['"', '\'']) {
        "; remove the quotes around it"
    } else if text.starts_with("//") {
        "; write `postgres:` before it"
    } else if KNOWN
        .iter()
        .any(|known| lower.starts_with(&format!("{known}:")))
    {
        "; write `postgres://` with two slashes"
    } else {
        ""
    }
}

/// `DATABASE_URL=postgres`, or `export DATABASE_URL="postgres`.
fn is_pasted_with_its_name(scheme: &str) -> bool {
    let Some((name, scheme)) = scheme.split_once('=') else {
        return false;
    };
    let scheme = scheme.trim_start_matches([' ', '"', '\'']);
    !name.contains(':') && KNOWN.contains(&scheme)
}

const EXPECTED: &str = "expected postgres://user:password@host:5432/database";

const KNOWN: [&str; 2] = ["postgres", "postgresql"];

/// Schemes of other libraries for PostgreSQL.
const ALIASES: [&str; 9] = [
    "ecto",
    "pg",
    "pgsql",
    "pgx",
    "pgx5",
    "postgis",
    "psql",
    "timescale",
    "timescaledb",
];
