//! Messages: writing whole ones, and taking apart the few that the wire understands.

use std::ffi::CStr;

use tokio_postgres::error::SqlState;

/// Appends one message.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(length + 5);
    out.push(tag);
    // The length fits: the wire copies parts of its peers' messages, and these are short enough.
    out.extend_from_slice(&(length as u32 + 4).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends Parse of a statement under a name; `tail` is everything after the name's NUL.
pub(crate) fn put_parse(out: &mut Vec<u8>, name: &[u8], tail: &[u8]) {
    put(out, b'P', &[name, b"\0", tail]);
}

/// Appends Describe of a statement.
pub(crate) fn put_describe(out: &mut Vec<u8>, name: &[u8]) {
    put(out, b'D', &[b"S", name, b"\0"]);
}

/// Appends Describe of a portal.
pub(crate) fn put_describe_portal(out: &mut Vec<u8>, portal: &[u8]) {
    put(out, b'D', &[b"P", portal, b"\0"]);
}

/// Appends Close of a statement.
pub(crate) fn put_close(out: &mut Vec<u8>, name: &[u8]) {
    put(out, b'C', &[b"S", name, b"\0"]);
}

/// Appends Sync.
pub(crate) fn put_sync(out: &mut Vec<u8>) {
    put(out, b'S', &[]);
}

/// Appends a statement without parameters as Parse, Bind and Execute, all unnamed.
pub(crate) fn put_statement(out: &mut Vec<u8>, sql: &[u8]) {
    put(out, b'P', &[b"\0", sql, b"\0\0\0"]);
    put(out, b'B', &[b"\0\0\0\0\0\0\0\0"]);
    put(out, b'E', &[b"\0\0\0\0\0"]);
}

/// Appends ReadyForQuery.
pub(crate) fn put_ready(out: &mut Vec<u8>, status: u8) {
    put(out, b'Z', &[&[status]]);
}

/// Appends CommandComplete.
pub(crate) fn put_complete(out: &mut Vec<u8>, tag: &[u8]) {
    put(out, b'C', &[tag, b"\0"]);
}

/// Appends an ErrorResponse of the wire's own. Its routine names the wire, as PostgreSQL's errors name a
/// function.
pub(crate) fn put_error(out: &mut Vec<u8>, code: &SqlState, message: &str) {
    put(out, b'E', &[&fields("ERROR", code, message)]);
}

/// Appends an ErrorResponse of the wire's own that ends the session. Returns its fields.
pub(crate) fn put_fatal(out: &mut Vec<u8>, code: &SqlState, message: &str) -> Vec<u8> {
    let fields = fields("FATAL", code, message);
    put(out, b'E', &[&fields]);
    fields
}

fn fields(severity: &str, code: &SqlState, message: &str) -> Vec<u8> {
    let code = code.code();
    format!("S{severity}\0V{severity}\0C{code}\0M{message}\0R{ROUTINE}\0\0").into_bytes()
}

/// The answer to Parse.
pub(crate) const PARSED: &[u8] = b"1\0\0\0\x04";

/// The answer to Close.
pub(crate) const CLOSED: &[u8] = b"3\0\0\0\x04";

/// The answer to a query without statements.
pub(crate) const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";

/// The routine in errors that the wire makes itself.
pub(crate) const ROUTINE: &str = "app_db_wire";

/// A text, and what follows its NUL.
pub(crate) fn split_text(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = CStr::from_bytes_until_nul(body).ok()?.to_bytes();
    Some((text, &body[text.len() + 1..]))
}

/// The number of rows in a command's tag: `SELECT 5`, `INSERT 0 1`.
pub(crate) fn rows_of(tag: &[u8]) -> u64 {
    let tag = tag.strip_suffix(b"\0").unwrap_or(tag);
    let digits = tag.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let number = &tag[tag.len() - digits.count()..];
    number.iter().fold(0, |number: u64, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_error::ServerError;

    #[test]
    fn messages_are_written_as_the_protocol_has_them() {
        let mut out = Vec::new();
        put_parse(&mut out, b"s1", b"SELECT 1\0\0\0");
        put_sync(&mut out);
        assert_eq!(&out[..], b"P\0\0\0\x12s1\0SELECT 1\0\0\0S\0\0\0\x04");
        assert_eq!(split_text(b"s1\0rest"), Some((&b"s1"[..], &b"rest"[..])));
        assert_eq!(split_text(b"s1"), None);
    }

    #[test]
    fn an_error_of_ours_reads_like_the_servers() {
        let mut out = Vec::new();
        put_error(&mut out, &SqlState::IN_FAILED_SQL_TRANSACTION, "no");
        let error = ServerError::from_fields(&out[5..]);
        assert_eq!((error.sqlstate().code(), error.message()), ("25P02", "no"));
        assert_eq!(
            (error.severity(), error.routine()),
            ("ERROR", Some(ROUTINE))
        );
    }

    #[test]
    fn rows_stand_at_the_end_of_a_tag() {
        assert_eq!(rows_of(b"SELECT 5\0"), 5);
        assert_eq!(rows_of(b"INSERT 0 12\0"), 12);
        assert_eq!(rows_of(b"BEGIN\0"), 0);
    }
}
