//! Every metric that is exported, by its name.

use std::time::Duration;

use crate::metrics::family::{Definition, MetricKind};

/// Every metric, in the order in which they are exported.
pub(crate) static DEFINITIONS: [Definition; 26] = [
    Definition {
        name: "db.client.connection.count",
        help: "Connections that are in the state described by the state label",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "db.client.connection.idle.max",
        help: "The most idle connections allowed",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "db.client.connection.idle.min",
        help: "The idle connections that are kept ready",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "db.client.connection.max",
        help: "The most open connections allowed",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "db.client.connection.pending_requests",
        help: "Callers that wait in the queue for a connection",
        unit: "{request}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "db.client.connection.timeouts",
        help: "Callers that got no connection in time",
        unit: "{timeout}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "db.client.connection.create_time",
        help: "The time it took to make a connection",
        unit: "s",
        kind: TIMES,
    },
    Definition {
        name: "db.client.connection.wait_time",
        help: "The time it took to obtain a connection from the pool, connecting included",
        unit: "s",
        kind: TIMES,
    },
    Definition {
        name: "db.client.connection.use_time",
        help: "The time between borrowing a connection and returning it to the pool",
        unit: "s",
        kind: TIMES,
    },
    Definition {
        name: "db.client.operation.duration",
        help: "The time of a statement until its last row",
        unit: "s",
        kind: MetricKind::Histogram {
            first: Duration::from_millis(1),
        },
    },
    Definition {
        name: "app_db.connections",
        help: "Connections by everything that they can be doing",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.checkouts",
        help: "Connections handed out, by where they came from: idle, made new, or waited for in the queue",
        unit: "{checkout}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.connect_phase",
        help: "The time of each part of making a connection",
        unit: "s",
        kind: TIMES,
    },
    Definition {
        name: "app_db.closed",
        help: "Connections closed, by reason",
        unit: "{connection}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.retries",
        help: "Transactions run again after a conflict",
        unit: "{retry}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.breaker_state",
        help: "Whether the pool believes in its server: 1 for the state it is in",
        unit: "",
        kind: MetricKind::Gauge,
    },
    Definition {
        name: "app_db.credential_generation",
        help: "The number of the credentials in use",
        unit: "",
        kind: MetricKind::Gauge,
    },
    Definition {
        name: "app_db.replica_lag",
        help: "How far a replica is behind, as the monitor has found last",
        unit: "s",
        kind: MetricKind::Gauge,
    },
    Definition {
        name: "app_db.slow_queries",
        help: "Statements slower than the threshold",
        unit: "{statement}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.connects",
        help: "Connections made",
        unit: "{connection}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.connect_failures",
        help: "Attempts to connect that failed",
        unit: "{attempt}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.refused",
        help: "Callers refused at once, because the queue was full or the rate limit reached",
        unit: "{checkout}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.long_holds",
        help: "Connections held for longer than leak_threshold",
        unit: "{checkout}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.resets",
        help: "Sessions that were reset when their connection came back",
        unit: "{reset}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.statements",
        help: "Statements run, by fingerprint",
        unit: "{statement}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.statement_time",
        help: "The time that statements took, by fingerprint",
        unit: "s",
        kind: MetricKind::Counter,
    },
];

/// Most checkouts take less than OpenTelemetry's first bound.
const TIMES: MetricKind = MetricKind::Histogram {
    first: Duration::ZERO,
};
