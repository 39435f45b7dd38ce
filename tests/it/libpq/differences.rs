//! The differences from libpq that config/README.md lists, and how each is recognized.

use super::meaning::Meaning;

/// How a difference shows.
pub(super) enum Shows {
    /// Refused here with one of these words, and accepted by libpq.
    Refused(&'static [&'static str]),
    /// Accepted here, and refused by libpq with one of these words, for a text with one of these parts.
    Accepted(&'static [&'static str], &'static [&'static str]),
    /// Another value of this part, if the function says so of the text, ours and libpq's value.
    Otherwise(&'static str, fn(&str, &str, &str) -> bool),
}

/// In the order of config/README.md.
pub(super) const DIFFERENCES: &[(&str, Shows)] = &[
    (
        "Given twice",
        Shows::Refused(&["is given twice", "means the same"]),
    ),
    (
        "An empty host in a list",
        Shows::Refused(&["an empty element in the list of hosts"]),
    ),
    (
        "Looked at too late",
        Shows::Refused(&[
            "the port is no number",
            "expected a number from 1 to 65535",
            "found \"x\"",
            "found \"5s\"",
            "found \"\"",
            "found \"99999999999\"",
            "as many elements as",
            "as many as there are hosts",
        ]),
    ),
    (
        "A socket with an address",
        Shows::Refused(&["a Unix socket has no address"]),
    ),
    (
        "Not supported",
        Shows::Refused(&["is not supported", "`passfile`"]),
    ),
    (
        "Files in the home directory",
        Shows::Refused(&["needs `sslkey` too", "needs `sslcert` too"]),
    ),
    (
        "channel_binding=require",
        Shows::Refused(&["needs sslmode=require or stronger"]),
    ),
    ("Only UTF-8", Shows::Refused(&["only UTF8 works"])),
    (
        "Only settings in options",
        Shows::Refused(&["`options` may hold", "write %20 for a blank"]),
    ),
    (
        "A raw character",
        Shows::Refused(&["stands unescaped", "`&` in a value"]),
    ),
    (
        "Not UTF-8, or a control character",
        Shows::Refused(&["is not UTF-8", "control character"]),
    ),
    (
        "The scheme's case",
        Shows::Accepted(&[""], &["Postgres://", "POSTGRES://"]),
    ),
    (
        "ssl in other places",
        Shows::Accepted(&["\"ssl\""], &["ssl"]),
    ),
    (
        "keepalives as a word",
        Shows::Accepted(&["\"keepalives\""], &["keepalives"]),
    ),
    (
        "Parameters of other tools",
        Shows::Accepted(&["\""], &["search_path", "pgbouncer"]),
    ),
    (
        "A raw = or blank",
        // The message about blanks came with libpq 17.
        Shows::Accepted(
            &["extra key/value separator", "unexpected spaces"],
            &["options=", " "],
        ),
    ),
    (
        "No sslmode",
        Shows::Otherwise("sslmode", |text, here, there| {
            let given = text.contains("sslmode") || text.contains("ssl=");
            let safer = match here {
                "disable" => true,
                "require" => text.contains("sslcert") || text.contains("channel_binding"),
                "verify-ca" => text.contains("sslrootcert"),
                _ => false,
            };
            !given && there == "prefer" && safer
        }),
    ),
    (
        "sslmode=require with sslrootcert",
        Shows::Otherwise("sslmode", |text, here, there| {
            text.contains("sslrootcert") && here == "verify-ca" && there == "require"
        }),
    ),
];

/// Names each difference, or says what differs without being one.
pub(super) fn between(
    text: &str,
    ours: &Result<Meaning, String>,
    theirs: &Result<Meaning, String>,
) -> Vec<Result<&'static str, String>> {
    let (ours, theirs) = match (ours, theirs) {
        (Err(_), Err(_)) => return Vec::new(),
        (Err(ours), Ok(_)) => {
            let known = |shows: &Shows| matches!(shows, Shows::Refused(pieces) if pieces.iter().any(|piece| ours.contains(piece)));
            return vec![find(known, format!("refused here alone: {ours}"))];
        }
        (Ok(_), Err(theirs)) => {
            let known = |shows: &Shows| {
                matches!(shows, Shows::Accepted(words, parts)
                if words.iter().any(|words| theirs.contains(words)) && parts.iter().any(|part| text.contains(part)))
            };
            return vec![find(known, format!("refused by libpq alone: {theirs}"))];
        }
        (Ok(ours), Ok(theirs)) => (ours, theirs),
    };
    ours.0
        .iter()
        .map(|(part, here)| (*part, here, &theirs.0[part]))
        .filter(|(_, here, there)| here != there)
        .map(|(part, here, there)| {
            let known = |shows: &Shows| matches!(shows, Shows::Otherwise(other, says) if *other == part && says(text, here, there));
            find(known, format!("{part} is {here:?} here and {there:?} to libpq"))
        })
        .collect()
}

fn find(known: impl Fn(&Shows) -> bool, what: String) -> Result<&'static str, String> {
    let found = DIFFERENCES.iter().find(|(_, shows)| known(shows));
    found.map(|(name, _)| *name).ok_or(what)
}
