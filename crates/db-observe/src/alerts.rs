//! Alerts: rules over readings, with hysteresis, and the places that get them.

pub(crate) mod alert;
pub(crate) mod alert_options;
pub(crate) mod outbox;
pub(crate) mod reading;
pub(crate) mod rule;
pub(crate) mod rule_states;
pub(crate) mod sinks;
