//! The keys of a pool: its size, its timeouts and its connections.

use super::bounds::{DAY, HOUR, MINUTE, MONTH, MS, SECOND, WEEK, duration};
use crate::keys::key::{BuiltIn, Key};
use crate::keys::key_kind::KeyKind;

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "profile.via",
        kind: KeyKind::Choice(&["pooled", "direct"]),
        built_in: BuiltIn::Same("pooled"),
        purpose: "Which URL the pool uses. LISTEN and session locks need `direct`, where each connection of the pool \
                  takes one of the server.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.max",
        kind: KeyKind::Count {
            min: 1,
            max: 10_000,
        },
        built_in: BuiltIn::Each(["10", "20", "15", "50", "100", "1"]),
        purpose: "",
        too_high: "The server runs out of connections (53300) or spends its time switching \
                   between them; count every instance.",
        too_low: "Callers queue while the server idles.",
    },
    Key {
        path: "profile.ceiling",
        kind: KeyKind::Count {
            min: 1,
            max: 10_000,
        },
        built_in: BuiltIn::Same("100"),
        purpose: "",
        too_high: "A resize at run time takes connections that others count on.",
        too_low: "A resize in an emergency is refused.",
    },
    Key {
        path: "profile.min_idle",
        kind: KeyKind::Count {
            min: 0,
            max: 10_000,
        },
        built_in: BuiltIn::Each(["2", "5", "5", "10", "20", "0"]),
        purpose: "",
        too_high: "Connections stand idle and others cannot have them.",
        too_low: "A burst waits for connections to be made, 50 to 160 ms each over TLS.",
    },
    Key {
        path: "profile.max_idle",
        kind: KeyKind::CountOr {
            min: 0,
            max: 10_000,
            word: "unlimited",
        },
        built_in: BuiltIn::Same("unlimited"),
        purpose: "",
        too_high: "Connections of a peak stay until `idle_timeout`, and others cannot have them.",
        too_low: "Each burst closes connections and makes them again; 20 to 50 % of `max` is usual, and 0 keeps none.",
    },
    Key {
        path: "profile.sizing",
        kind: KeyKind::Choice(&["fixed", "adaptive"]),
        built_in: BuiltIn::Same("fixed"),
        purpose: "Who decides how large the pool is. `adaptive`: the load, from `max` at the start \
                   up to `ceiling`, if the service runs an `Operations` task.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.rate_limit",
        kind: KeyKind::CountOr {
            min: 1,
            max: 1_000_000,
            word: "unlimited",
        },
        built_in: BuiltIn::Same("unlimited"),
        purpose: "",
        too_high: "A flood of requests reaches the queue. The number is how many connections \
                   callers may ask for in a second.",
        too_low: "Honest requests are refused at once.",
    },
    Key {
        path: "profile.max_waiting",
        kind: KeyKind::CountOr {
            min: 0,
            max: 1_000_000,
            word: "unlimited",
        },
        built_in: BuiltIn::Each(["unlimited", "unlimited", "300", "1000", "2000", "20"]),
        purpose: "",
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
        purpose: "",
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
        purpose: "",
        too_high: "A host that swallows packets holds up the next host and the callers.",
        too_low: "A loaded server or a slow login never gets through.",
    },
    Key {
        path: "profile.idle_timeout",
        kind: duration(SECOND, DAY, Some("never")),
        built_in: BuiltIn::Each(["30s", "30s", "60s", "60s", "30s", "30s"]),
        purpose: "",
        too_high: "A firewall drops the connection first, and a caller finds out.",
        too_low: "Connections are made again and again.",
    },
    Key {
        path: "profile.max_lifetime",
        kind: duration(SECOND, MONTH, Some("never")),
        built_in: BuiltIn::Each(["1h", "30min", "3min", "5min", "2min", "5min"]),
        purpose: "",
        too_high: "Old connections outlive a failover, a rotation or the server's own limit.",
        too_low: "Connections are made again and again.",
    },
    Key {
        path: "profile.max_uses",
        kind: KeyKind::Count {
            min: 0,
            max: 1_000_000_000,
        },
        built_in: BuiltIn::Prod {
            prod: "10000",
            other: "7500",
        },
        purpose: "",
        too_high: "The memory of a server process grows with its caches; 0 sets no bound.",
        too_low: "Connections are made again and again.",
    },
    Key {
        path: "profile.validate_after",
        kind: duration(MS, HOUR, Some("always")),
        built_in: BuiltIn::Same("500ms"),
        purpose: "",
        too_high: "A caller gets a connection that died while it was idle.",
        too_low: "Every checkout costs a round trip.",
    },
    Key {
        path: "profile.validation_timeout",
        kind: duration(MS, MINUTE, None),
        built_in: BuiltIn::Same("1s"),
        purpose: "",
        too_high: "A checkout hangs on a connection that will not answer.",
        too_low: "Sound connections are thrown away when the server is busy.",
    },
    Key {
        path: "profile.answer_timeout",
        kind: duration(SECOND, WEEK, Some("never")),
        built_in: BuiltIn::Same("1h"),
        purpose: "",
        too_high: "A caller whose statement has no `statement_timeout` waits long for a server \
                   that is silent.",
        too_low: "The pool gives up a long statement without `statement_timeout` on a healthy server.",
    },
    Key {
        path: "profile.leak_threshold",
        kind: duration(MS, DAY, Some("never")),
        built_in: BuiltIn::Same("60s"),
        purpose: "",
        too_high: "A connection that is never given back goes unseen until the pool runs dry.",
        too_low: "The log warns of ordinary work; at or below `statement_timeout` even of single \
                   statements.",
    },
    Key {
        path: "profile.pooler",
        kind: KeyKind::Choice(&["auto", "none", "session", "transaction"]),
        built_in: BuiltIn::Same("auto"),
        purpose: "What stands before the server. `none` before a transaction-mode pooler: callers \
                   get errors and settings of other clients. `transaction` without one: slower \
                   than necessary.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.statements",
        kind: KeyKind::Choice(&["auto", "named", "unnamed"]),
        built_in: BuiltIn::Same("auto"),
        purpose: "How statements are named on the server. `named` before a pooler that does not \
                   keep names: errors, and other clients' rows. `unnamed`: the server parses each \
                   run again.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.wire",
        kind: KeyKind::Choice(&["full", "observe"]),
        built_in: BuiltIn::Same("full"),
        purpose: "`observe`: every statement passes as diesel sends it. That saves no round trip. \
                   Behind a pooler that shares sessions the pool then sends no settings, and lets \
                   statements through that change the sessions of other clients.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.statement_cache",
        kind: KeyKind::Count {
            min: 0,
            max: 10_000,
        },
        built_in: BuiltIn::Same("256"),
        purpose: "",
        too_high: "Each connection keeps as many plans on the server, which costs memory there.",
        too_low: "The server parses statements again and again; with 0 it does so for every \
                   UPDATE.",
    },
    Key {
        path: "profile.defer_begin",
        kind: KeyKind::Choice(&["on", "off"]),
        built_in: BuiltIn::Same("on"),
        purpose: "Whether BEGIN travels with the first statement. `off`: one more round trip for \
                   each transaction, and another one for COMMIT if it only reads.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.reset",
        kind: KeyKind::Choice(&["auto", "always", "never"]),
        built_in: BuiltIn::Same("auto"),
        purpose: "When a session is reset after its connection came back. `auto`: if a statement \
                   may have changed it. `always`: for triggers or views that change it; a round \
                   trip that nobody waits for. `never`: holders find what others left, and a SET \
                   passes through a transaction-mode pooler.",
        too_high: "",
        too_low: "",
    },
    Key {
        path: "profile.keepalive_idle",
        kind: duration(SECOND, DAY, Some("the system's default")),
        built_in: BuiltIn::Same("30s"),
        purpose: "",
        too_high: "A dead peer is noticed late, and a firewall forgets the connection.",
        too_low: "Every idle connection sends useless packets.",
    },
    Key {
        path: "profile.tcp_user_timeout",
        kind: duration(SECOND, HOUR, Some("the system's default")),
        built_in: BuiltIn::Same("30s"),
        purpose: "",
        too_high: "A caller waits for a peer that no longer acknowledges anything.",
        too_low: "A short break of the network ends connections.",
    },
];
