//! The scripts that concern the wire: cursors and portals, transactions, plans, settings, literals.

/// By their names, without `.sql`.
pub(crate) const FILES: [&str; 24] = [
    "advisory_lock",
    "async",
    "combocid",
    "copy",
    "copyselect",
    "date",
    "guc",
    "insert",
    "interval",
    "limit",
    "namespace",
    "plancache",
    "portals",
    "portals_p2",
    "prepare",
    "select",
    "select_implicit",
    "select_into",
    "sequence",
    "strings",
    "temp",
    "timestamptz",
    "transactions",
    "with",
];
