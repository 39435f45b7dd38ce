//! The keys of a pool's sessions, and of what is recorded about their statements.

use super::bounds::{DAY, MS, WEEK, duration};
use crate::keys::key::{BuiltIn, Key};
use crate::keys::key_kind::KeyKind;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "profile.statement_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Same("30s"),
        purpose: "",
        too_high: "A runaway query holds its connection and its locks.",
        too_low: "Reports and bulk changes are cut off.",
    },
    Key {
        path: "profile.lock_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Unset,
        purpose: "",
        too_high: "Statements queue behind a lock until the statement timeout.",
        too_low: "Ordinary waits for a row lock become errors.",
    },
    Key {
        path: "profile.idle_in_transaction_session_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Same("60s"),
        purpose: "",
        too_high: "A forgotten transaction keeps its locks and stops vacuum.",
        too_low: "A transaction that computes between statements loses its connection.",
    },
    Key {
        path: "profile.application_name",
        kind: KeyKind::Text,
        built_in: BuiltIn::Same("app-db"),
        purpose: "The name in `pg_stat_activity`; the server cuts it at 63 bytes.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.search_path",
        kind: KeyKind::Text,
        built_in: BuiltIn::Unset,
        purpose: "The schemas to look in, separated by commas; when unset, the role's own setting applies.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.role",
        kind: KeyKind::Text,
        built_in: BuiltIn::Unset,
        purpose: "The role whose rights the pool's sessions have. The pool's user has to be a member of it. \
                   Unset: the user's own rights.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.default_transaction_isolation",
        kind: KeyKind::Choice(&[
            "read uncommitted",
            "read committed",
            "repeatable read",
            "serializable",
        ]),
        built_in: BuiltIn::Same("read committed"),
        purpose: "The isolation of a transaction that asks for none. Stricter: more conflicts to \
                   retry. Laxer: anomalies.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.read_only",
        kind: KeyKind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("off"),
        purpose: "Whether transactions of the pool are READ ONLY, so that a statement that writes fails with \
                   25006: for a replica, or for work that must not write.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.timezone",
        kind: KeyKind::Text,
        built_in: BuiltIn::Same("UTC"),
        purpose: "The session's time zone. It decides which day `now()::date` is.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.client_encoding",
        kind: KeyKind::Choice(&["UTF8"]),
        built_in: BuiltIn::Same("UTF8"),
        purpose: "The session's encoding; Rust's text is UTF-8 and nothing else works.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.slow_query_threshold",
        kind: duration(MS, DAY, None),
        built_in: BuiltIn::Unset,
        purpose: "",
        too_high: "Slow statements of this pool go unseen; when unset, `slow_query.threshold` applies.",
        too_low: "The log fills with statements that are slow by their nature, such as reports.",
    },
    Key {
        path: "profile.statement_statistics",
        kind: KeyKind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("on"),
        purpose: "Whether the pool counts statements by fingerprint. That takes up to 20 kB for each of 200 \
                  fingerprints in each pool.",
        too_high: "",
        too_low: "",
    },
];
