//! The keys of retries, reconnecting, the slow-query log and migrations.

use super::bounds::{DAY, HOUR, MINUTE, MS, WEEK, duration};
use crate::keys::key::{BuiltIn, Key};
use crate::keys::key_kind::KeyKind;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "retry.attempts",
        kind: KeyKind::Count { min: 1, max: 100 },
        built_in: BuiltIn::Same("3"),
        purpose: "",
        too_high: "Conflicts multiply the load when it is highest.",
        too_low: "Conflicts that a second attempt would settle reach the caller.",
    },
    Key {
        path: "retry.budget",
        kind: KeyKind::Percent { max: 1_000 },
        built_in: BuiltIn::Same("20%"),
        purpose: "",
        too_high: "When every transaction conflicts, retries multiply the load. The share says how \
                   many transactions of a pool may be retried while nothing commits.",
        too_low: "Conflicts reach callers although another attempt would have settled them.",
    },
    Key {
        path: "retry.base_delay",
        kind: duration(MS, MINUTE, None),
        built_in: BuiltIn::Same("10ms"),
        purpose: "",
        too_high: "A retried transaction is slow.",
        too_low: "The same transactions conflict again.",
    },
    Key {
        path: "retry.max_delay",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("1s"),
        purpose: "",
        too_high: "Late attempts outlive the request that wants them.",
        too_low: "The delay stops growing while the same transactions still conflict.",
    },
    Key {
        path: "reconnect.attempts",
        kind: KeyKind::Count { min: 1, max: 1_000 },
        built_in: BuiltIn::Same("10"),
        purpose: "",
        too_high: "Callers wait for a server that is gone instead of being told so.",
        too_low: "During a restart of the server, callers get errors instead of a wait.",
    },
    Key {
        path: "reconnect.base_delay",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("1s"),
        purpose: "",
        too_high: "Service returns late after a short outage.",
        too_low: "A server that is starting is flooded with logins.",
    },
    Key {
        path: "reconnect.max_delay",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("30s"),
        purpose: "",
        too_high: "Service returns late after a long outage.",
        too_low: "A server that is down is flooded with logins.",
    },
    Key {
        path: "slow_query.threshold",
        kind: duration(MS, DAY, None),
        built_in: BuiltIn::Same("500ms"),
        purpose: "",
        too_high: "Slow statements go unseen.",
        too_low: "The log fills with ordinary statements.",
    },
    Key {
        path: "slow_query.bind_values",
        kind: KeyKind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("off"),
        purpose: "Whether a slow statement is logged with the values bound to it, which may be anybody's data. `on` is \
                  an error outside dev and test.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "migrations.directory",
        kind: KeyKind::Text,
        built_in: BuiltIn::Same("migrations"),
        purpose: "The directory of the migrations, relative to the working directory.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "migrations.lock_timeout",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("2s"),
        purpose: "",
        too_high: "Queries queue behind a migration that waits for its lock.",
        too_low: "A migration of a busy table never gets its lock.",
    },
    Key {
        path: "migrations.lock_retry",
        kind: duration(MS, DAY, Some("no second attempt")),
        built_in: BuiltIn::Same("10min"),
        purpose: "",
        too_high: "A deployment hangs behind a transaction that nobody ends.",
        too_low: "A deployment fails while a backup runs.",
    },
    Key {
        path: "migrations.statement_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Same("15min"),
        purpose: "",
        too_high: "A runaway migration holds its locks.",
        too_low: "An index on a large table is never finished.",
    },
    Key {
        path: "migrations.lock_wait",
        kind: duration(MS, DAY, None),
        built_in: BuiltIn::Same("5min"),
        purpose: "",
        too_high: "A deployment hangs behind one that died.",
        too_low: "Instances that start together fail instead of waiting for the first.",
    },
    Key {
        path: "migrations.migrate_on_start",
        kind: KeyKind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("off"),
        purpose: "Whether a service applies the pending migrations before it opens its pools. `on` is an error outside \
                  dev and test.",
        too_high: "",
        too_low: "",
    },
];
