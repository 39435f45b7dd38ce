//! The keys of where user and password come from, and how they are renewed.

use super::bounds::{DAY, HOUR, MS, duration};
use crate::keys::key::{BuiltIn, Key};
use crate::keys::key_kind::KeyKind;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "credentials.source",
        kind: KeyKind::Choice(&["static", "file", "directory", "command", "provider"]),
        built_in: BuiltIn::Same("static"),
        purpose: "Where user and password come from. `static`: the URL. `file`, `directory`: `credentials.path`. \
                  `command`: what `credentials.command` prints. `provider`: code of the service. \
                  docs/rotation.md has the formats.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "credentials.path",
        kind: KeyKind::Text,
        built_in: BuiltIn::Unset,
        purpose: "The file with the secret, or the directory with one file for each part of it. A directory may be \
                  left out where SERVICE_BINDING_ROOT has one binding of the type postgresql.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "credentials.command",
        kind: KeyKind::Arguments,
        built_in: BuiltIn::Unset,
        purpose: "The program that prints the secret, with its arguments. No shell runs it.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "credentials.timeout",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("5s"),
        purpose: "",
        too_high: "A source that hangs delays the next try.",
        too_low: "A slow source never delivers.",
    },
    Key {
        path: "credentials.poll",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("1s"),
        purpose: "",
        too_high: "A new secret in a file is noticed late.",
        too_low: "The file system is asked without need.",
    },
    Key {
        path: "credentials.refresh_before",
        kind: duration(MS, DAY, None),
        built_in: BuiltIn::Same("60s"),
        purpose: "",
        too_high: "A secret is fetched more often than necessary, but not before half of its life \
                   is over.",
        too_low: "A source that is down for a moment may still be down when the secret expires. A \
                   fifth of the secret's life always remains.",
    },
    Key {
        path: "credentials.refresh",
        kind: KeyKind::Choice(&["timer", "lazy"]),
        built_in: BuiltIn::Each(["timer", "timer", "timer", "timer", "timer", "lazy"]),
        purpose: "When a secret is renewed. `timer`: in the background, so that no login waits for \
                   it. `lazy`: before a login, if it is due; for functions, where nothing runs \
                   between requests.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "credentials.drain_spread",
        kind: duration(MS, DAY, Some("all at once")),
        built_in: BuiltIn::Same("10s"),
        purpose: "",
        too_high: "Old credentials stay in use after a rotation.",
        too_low: "Every instance logs in anew for all its idle connections at the same moment.",
    },
    Key {
        path: "credentials.drain_limit",
        kind: duration(MS, DAY, Some("none")),
        built_in: BuiltIn::Unset,
        purpose: "",
        too_high: "A long statement keeps a connection with old credentials after a rotation.",
        too_low: "A rotation cancels statements that would have ended soon.",
    },
    Key {
        path: "credentials.attempts",
        kind: KeyKind::Count { min: 1, max: 1_000 },
        built_in: BuiltIn::Same("3"),
        purpose: "",
        too_high: "Refused logins lock the user out, if the server counts them.",
        too_low: "If the server learns of a new secret late, the pool notices late that it works.",
    },
];
