//! The table of keys.

use std::time::Duration;

use super::{BuiltIn, Key, Kind};

/// Every key, in the order of `config/README.md`.
pub const KEYS: &[Key] = &[
    Key {
        path: "url_variable",
        kind: Kind::Variable,
        built_in: BuiltIn::Same("DATABASE_URL"),
        too_high: "The variable that holds the application's URL, where a platform supplies it \
                   under another name.",
        too_low: "",
    },
    Key {
        path: "direct_url_variable",
        kind: Kind::Variable,
        built_in: BuiltIn::Same("DATABASE_URL_DIRECT"),
        too_high: "The variable that holds the URL of migrations and administration.",
        too_low: "",
    },
    Key {
        path: "replica_url_variable",
        kind: Kind::Variable,
        built_in: BuiltIn::Same("DATABASE_URL_REPLICA"),
        too_high: "The variable that holds the URLs of the replicas, separated by commas.",
        too_low: "",
    },
    Key {
        path: "tls.mode",
        kind: Kind::Choice(&["disable", "require", "verify-ca", "verify-full"]),
        built_in: BuiltIn::Each([
            "disable",
            "disable",
            "disable",
            "verify-full",
            "verify-full",
            "verify-full",
        ]),
        too_high: "How a server on another machine is reached when the URL has no `sslmode`. \
                   Stricter than the server can do: no connection. Laxer: the password can be \
                   read on the way.",
        too_low: "",
    },
    Key {
        path: "tls.root_cert",
        kind: Kind::Text,
        built_in: BuiltIn::Unset,
        too_high: "The file of trusted certificates for `verify-ca` and `verify-full`, when the \
                   URL has no `sslrootcert`; the system's store when unset.",
        too_low: "",
    },
    Key {
        path: "profile.via",
        kind: Kind::Choice(&["pooled", "direct"]),
        built_in: BuiltIn::Same("pooled"),
        too_high: "The URL of the pool. LISTEN and session locks need `direct`, which costs the \
                   server a connection each.",
        too_low: "",
    },
    Key {
        path: "profile.max",
        kind: Kind::Count {
            min: 1,
            max: 10_000,
        },
        built_in: BuiltIn::Each(["10", "20", "15", "50", "100", "1"]),
        too_high: "The server runs out of connections (53300) or spends its time switching \
                   between them; count every instance.",
        too_low: "Callers queue while the server idles.",
    },
    Key {
        path: "profile.ceiling",
        kind: Kind::Count {
            min: 1,
            max: 10_000,
        },
        built_in: BuiltIn::Same("100"),
        too_high: "A resize at run time takes connections that others count on.",
        too_low: "A resize in an emergency is refused.",
    },
    Key {
        path: "profile.min_idle",
        kind: Kind::Count {
            min: 0,
            max: 10_000,
        },
        built_in: BuiltIn::Each(["2", "5", "5", "10", "20", "0"]),
        too_high: "Connections stand idle and others cannot have them.",
        too_low: "A burst waits for connections to be made, 50 to 160 ms each over TLS.",
    },
    Key {
        path: "profile.max_waiting",
        kind: Kind::CountOr {
            min: 0,
            max: 1_000_000,
            word: "unlimited",
        },
        built_in: BuiltIn::Each(["unlimited", "unlimited", "300", "1000", "2000", "20"]),
        too_high: "Overload shows as requests that pile up and time out, instead of errors at once.",
        too_low: "A short burst becomes errors; 0 lets nobody wait.",
    },
    Key {
        path: "profile.checkout_timeout",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Prod {
            prod: "10s",
            other: "5s",
        },
        too_high: "An outage shows as requests that hang instead of errors.",
        too_low: "A short burst or one slow connect becomes an error.",
    },
    Key {
        path: "profile.connect_timeout",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Prod {
            prod: "10s",
            other: "5s",
        },
        too_high: "A host that swallows packets holds up the next host and the callers.",
        too_low: "A loaded server or a slow login never gets through.",
    },
    Key {
        path: "profile.idle_timeout",
        kind: duration(SECOND, DAY, Some("never")),
        built_in: BuiltIn::Each(["30s", "30s", "60s", "60s", "30s", "30s"]),
        too_high: "A firewall drops the connection first, and a caller finds out.",
        too_low: "Connections are made again and again.",
    },
    Key {
        path: "profile.max_lifetime",
        kind: duration(SECOND, MONTH, Some("never")),
        built_in: BuiltIn::Each(["1h", "30min", "3min", "5min", "2min", "5min"]),
        too_high: "Old connections outlive a failover, a rotation or the server's own limit.",
        too_low: "Connections are made again and again.",
    },
    Key {
        path: "profile.max_uses",
        kind: Kind::Count {
            min: 0,
            max: 1_000_000_000,
        },
        built_in: BuiltIn::Prod {
            prod: "10000",
            other: "7500",
        },
        too_high: "The memory of a server process grows with its caches; 0 is never.",
        too_low: "Connections are made again and again.",
    },
    Key {
        path: "profile.validate_after",
        kind: duration(MS, HOUR, Some("always")),
        built_in: BuiltIn::Same("500ms"),
        too_high: "A caller gets a connection that died while it was idle.",
        too_low: "Every checkout costs a round trip.",
    },
    Key {
        path: "profile.validation_timeout",
        kind: duration(MS, MINUTE, None),
        built_in: BuiltIn::Same("1s"),
        too_high: "A checkout hangs on a connection that will not answer.",
        too_low: "Sound connections are thrown away when the server is busy.",
    },
    Key {
        path: "profile.leak_threshold",
        kind: duration(MS, DAY, Some("never")),
        built_in: BuiltIn::Same("60s"),
        too_high: "A connection that is never given back goes unseen until the pool runs dry.",
        too_low: "The log warns of honest work: at or below `statement_timeout`, of single statements.",
    },
    Key {
        path: "profile.pooler",
        kind: Kind::Choice(&["auto", "none", "session", "transaction"]),
        built_in: BuiltIn::Same("auto"),
        too_high: "What stands before the server. `none` before a transaction-mode pooler: errors \
                   and settings of other clients. `transaction` without one: slower than need be.",
        too_low: "",
    },
    Key {
        path: "profile.statements",
        kind: Kind::Choice(&["auto", "named", "unnamed"]),
        built_in: BuiltIn::Same("auto"),
        too_high: "How statements are named on the server. `named` before a pooler that does not keep \
                   names: errors and other clients' rows. `unnamed`: each run parses again.",
        too_low: "",
    },
    Key {
        path: "profile.statement_cache",
        kind: Kind::Count {
            min: 0,
            max: 10_000,
        },
        built_in: BuiltIn::Same("256"),
        too_high: "Each connection keeps as many plans on the server, which costs memory there.",
        too_low: "Statements are parsed again and again; 0 does so for every UPDATE.",
    },
    Key {
        path: "profile.defer_begin",
        kind: Kind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("on"),
        too_high: "Whether BEGIN travels with the first statement. `off`: a round trip more for each \
                   transaction, and one for the COMMIT of each that only reads.",
        too_low: "",
    },
    Key {
        path: "profile.reset",
        kind: Kind::Choice(&["auto", "always", "never"]),
        built_in: BuiltIn::Same("auto"),
        too_high: "When a session is reset as its connection comes back. `auto`: after a statement that may \
                   have changed it. `always`: where triggers or views do so; a round trip that nobody waits \
                   for. `never`: borrowers find what others left, and a SET through a transaction-mode \
                   pooler is let through.",
        too_low: "",
    },
    Key {
        path: "profile.keepalive_idle",
        kind: duration(SECOND, DAY, Some("the system's default")),
        built_in: BuiltIn::Same("30s"),
        too_high: "A dead peer is noticed late, and a firewall forgets the connection.",
        too_low: "Packets without use on every idle connection.",
    },
    Key {
        path: "profile.tcp_user_timeout",
        kind: duration(SECOND, HOUR, Some("the system's default")),
        built_in: BuiltIn::Same("30s"),
        too_high: "A caller waits for a peer that acknowledges nothing any more.",
        too_low: "A short break of the network ends connections.",
    },
    Key {
        path: "profile.statement_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Same("30s"),
        too_high: "A runaway query holds its connection and its locks.",
        too_low: "Reports and bulk changes are cut off.",
    },
    Key {
        path: "profile.lock_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Unset,
        too_high: "Statements queue behind a lock until the statement timeout.",
        too_low: "Ordinary waits for a row lock become errors.",
    },
    Key {
        path: "profile.idle_in_transaction_session_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Same("60s"),
        too_high: "A forgotten transaction keeps its locks and stops vacuum.",
        too_low: "A transaction that computes between statements loses its connection.",
    },
    Key {
        path: "profile.application_name",
        kind: Kind::Text,
        built_in: BuiltIn::Same("app-db"),
        too_high: "The name in `pg_stat_activity`; the server cuts it at 63 bytes.",
        too_low: "",
    },
    Key {
        path: "profile.search_path",
        kind: Kind::Text,
        built_in: BuiltIn::Unset,
        too_high: "The schemas to look in, separated by commas; the role's own when unset.",
        too_low: "",
    },
    Key {
        path: "profile.role",
        kind: Kind::Text,
        built_in: BuiltIn::Unset,
        too_high: "The role whose rights the pool's sessions have, of which its user is a member; the \
                   user's own when unset.",
        too_low: "",
    },
    Key {
        path: "profile.default_transaction_isolation",
        kind: Kind::Choice(&[
            "read uncommitted",
            "read committed",
            "repeatable read",
            "serializable",
        ]),
        built_in: BuiltIn::Same("read committed"),
        too_high: "The isolation of a transaction that asks for none. Stricter: more conflicts to \
                   retry. Laxer: anomalies.",
        too_low: "",
    },
    Key {
        path: "profile.timezone",
        kind: Kind::Text,
        built_in: BuiltIn::Same("UTC"),
        too_high: "The session's time zone; another than UTC shifts what `now()::date` means.",
        too_low: "",
    },
    Key {
        path: "profile.client_encoding",
        kind: Kind::Choice(&["UTF8"]),
        built_in: BuiltIn::Same("UTF8"),
        too_high: "The session's encoding; Rust's text is UTF-8 and nothing else works.",
        too_low: "",
    },
    Key {
        path: "profile.slow_query_threshold",
        kind: duration(MS, DAY, None),
        built_in: BuiltIn::Unset,
        too_high: "Slow statements of this pool go unseen; `slow_query.threshold` when unset.",
        too_low: "The log fills with statements that are slow by their nature, such as reports.",
    },
    Key {
        path: "profile.statement_statistics",
        kind: Kind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("on"),
        too_high: "Whether statements are counted by fingerprint: up to 20 kB for each of 200 of them in \
                   each pool.",
        too_low: "",
    },
    Key {
        path: "retry.attempts",
        kind: Kind::Count { min: 1, max: 100 },
        built_in: BuiltIn::Same("3"),
        too_high: "Conflicts multiply the load when there is most of it.",
        too_low: "Conflicts that a second attempt would settle reach the caller.",
    },
    Key {
        path: "retry.budget",
        kind: Kind::Percent { max: 1_000 },
        built_in: BuiltIn::Same("20%"),
        too_high: "When every transaction conflicts, retries multiply the load: the share of further attempts \
                   that may come to nothing, in one pool.",
        too_low: "Conflicts reach callers although another attempt would have settled them.",
    },
    Key {
        path: "retry.base_delay",
        kind: duration(MS, MINUTE, None),
        built_in: BuiltIn::Same("10ms"),
        too_high: "A retried transaction is slow.",
        too_low: "The rivals meet again.",
    },
    Key {
        path: "retry.max_delay",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("1s"),
        too_high: "Late attempts outlive the request that wants them.",
        too_low: "The delay stops growing before the rivals are apart.",
    },
    Key {
        path: "reconnect.attempts",
        kind: Kind::Count { min: 1, max: 1_000 },
        built_in: BuiltIn::Same("10"),
        too_high: "Callers wait for a server that is gone instead of being told so.",
        too_low: "A restart of the server is answered with errors instead of a wait.",
    },
    Key {
        path: "reconnect.base_delay",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("1s"),
        too_high: "Service returns late after a short outage.",
        too_low: "A server that is starting is flooded with logins.",
    },
    Key {
        path: "reconnect.max_delay",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("30s"),
        too_high: "Service returns late after a long outage.",
        too_low: "A server that is down is flooded with logins.",
    },
    Key {
        path: "slow_query.threshold",
        kind: duration(MS, DAY, None),
        built_in: BuiltIn::Same("500ms"),
        too_high: "Slow statements go unseen.",
        too_low: "The log fills with ordinary statements.",
    },
    Key {
        path: "slow_query.bind_values",
        kind: Kind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("off"),
        too_high: "Whether a slow statement is logged with the values bound to it, which may be anybody's \
                   data. `on` is an error everywhere but in dev and test.",
        too_low: "",
    },
    Key {
        path: "migrations.directory",
        kind: Kind::Text,
        built_in: BuiltIn::Same("migrations"),
        too_high: "The directory of the migrations, relative to the working directory.",
        too_low: "",
    },
    Key {
        path: "migrations.lock_timeout",
        kind: duration(MS, HOUR, None),
        built_in: BuiltIn::Same("2s"),
        too_high: "Queries queue behind a migration that waits for its lock.",
        too_low: "A migration of a busy table never gets its lock.",
    },
    Key {
        path: "migrations.statement_timeout",
        kind: duration(MS, WEEK, Some("none")),
        built_in: BuiltIn::Same("15min"),
        too_high: "A runaway migration holds its locks.",
        too_low: "An index on a large table is never finished.",
    },
    Key {
        path: "migrations.lock_wait",
        kind: duration(MS, DAY, None),
        built_in: BuiltIn::Same("5min"),
        too_high: "A deployment hangs behind one that died.",
        too_low: "Instances that start together fail instead of waiting for the first.",
    },
];

const fn duration(min: Duration, max: Duration, zero: Option<&'static str>) -> Kind {
    Kind::Duration { min, max, zero }
}

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
