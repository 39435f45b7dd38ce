//! Every metric that is exported, by its name.

use std::time::Duration;

use crate::metrics::family::{Definition, MetricKind};

/// Every metric, in the order in which they are exported.
pub(crate) static DEFINITIONS: [Definition; 43] = [
    Definition {
        name: "db.client.connection.count",
        help: "Connections that are in the state described by the state label",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "db.client.connection.idle.max",
        help: "The maximum of idle connections",
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
        help: "The maximum of open connections",
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
        help: "Connections by what they are doing",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.checkouts",
        help: "Connections handed out, by source: idle, newly made, or waited for in the queue",
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
        help: "The breaker of the pool: 1 for its current state",
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
        help: "How far a replica was behind at the last look of the monitor",
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
        help: "Callers refused at once, because the queue was full or the rate limit was reached",
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
        name: "app_db.ports",
        help: "TCP sockets of this machine to the ports of the pool's servers, by state; each takes a port",
        unit: "{socket}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.ports_max",
        help: "The ports that the system gives to outgoing connections",
        unit: "{port}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.server_sessions",
        help: "Sessions of clients on the server, by what they did or waited for at the last look of the monitor",
        unit: "{session}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.server_max_connections",
        help: "Connections that the server has for clients",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.server_blocks",
        help: "Blocks that the database has read, from the server's cache or from the disk",
        unit: "{block}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.server_temporary",
        help: "Bytes that statements of the database have put into temporary files",
        unit: "By",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.server_deadlocks",
        help: "Deadlocks in the database",
        unit: "{deadlock}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.server_session_memory",
        help: "The memory that a session takes on the server before it has done anything",
        unit: "By",
        kind: MetricKind::Gauge,
    },
    Definition {
        name: "app_db.pooler_clients",
        help: "Clients of PgBouncer for this database and user, by state",
        unit: "{client}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.pooler_servers",
        help: "PgBouncer's server connections for this database and user, by state",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.pooler_size",
        help: "The server connections that PgBouncer may have for this database and user",
        unit: "{connection}",
        kind: MetricKind::UpDownCounter,
    },
    Definition {
        name: "app_db.pooler_longest_wait",
        help: "How long the next client in the queue of PgBouncer has been waiting",
        unit: "s",
        kind: MetricKind::Gauge,
    },
    Definition {
        name: "app_db.pooler_transactions",
        help: "Transactions of the database through PgBouncer",
        unit: "{transaction}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.pooler_queries",
        help: "Statements of the database through PgBouncer",
        unit: "{statement}",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.pooler_wait",
        help: "The time that clients of the database have waited for a server connection of PgBouncer",
        unit: "s",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.pooler_query_time",
        help: "The time that statements of the database took behind PgBouncer",
        unit: "s",
        kind: MetricKind::Counter,
    },
    Definition {
        name: "app_db.pooler_parses",
        help: "Statements that clients have prepared, and statements that PgBouncer had to prepare on the server",
        unit: "{statement}",
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
