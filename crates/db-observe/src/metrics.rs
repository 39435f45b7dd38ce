//! Metrics: one table of families, read from a snapshot, for everything that exports them.

pub(crate) mod definitions;
pub(crate) mod exporter;
pub(crate) mod families;
pub(crate) mod family;
#[cfg(feature = "otel")]
pub(crate) mod otel;
pub(crate) mod sampled;
pub(crate) mod writer;
