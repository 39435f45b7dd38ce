//! The keys of the URLs, and of TLS for URLs that say nothing about it.

use crate::keys::key::{BuiltIn, Key};
use crate::keys::key_kind::KeyKind;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "url_variable",
        kind: KeyKind::Variable,
        built_in: BuiltIn::Same("DATABASE_URL"),
        purpose: "The variable that holds the application's URL, where a platform supplies it \
                   under another name.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "direct_url_variable",
        kind: KeyKind::Variable,
        built_in: BuiltIn::Same("DATABASE_URL_DIRECT"),
        purpose: "The variable that holds the URL of migrations and administration.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "replica_url_variable",
        kind: KeyKind::Variable,
        built_in: BuiltIn::Same("DATABASE_URL_REPLICA"),
        purpose: "The variable that holds the URLs of the replicas, separated by commas.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "tls.mode",
        kind: KeyKind::Choice(&["disable", "require", "verify-ca", "verify-full"]),
        built_in: BuiltIn::Each([
            "disable",
            "disable",
            "disable",
            "verify-full",
            "verify-full",
            "verify-full",
        ]),
        purpose: "The `sslmode` for a server on another machine, if the URL has none. Stricter \
                   than what the server can do: no connection. Laxer: the password can be read on \
                   the way.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "tls.root_cert",
        kind: KeyKind::Text,
        built_in: BuiltIn::Unset,
        purpose: "The file of trusted certificates for `verify-ca` and `verify-full`, when the \
                   URL has no `sslrootcert`; the system's store when unset.",
        too_high: "",
        too_low: "",
    },
];
