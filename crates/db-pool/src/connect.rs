//! From an endpoint to a session that is set up, and when connecting is tried.

pub(crate) mod addresses;
pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod cancel_token;
pub(crate) mod canceller;
pub(crate) mod certificate_problem;
pub(crate) mod certificates;
pub(crate) mod connect_error;
pub(crate) mod connector;
pub(crate) mod dialler;
pub(crate) mod driver_config;
pub(crate) mod findings;
pub(crate) mod inquiry;
pub(crate) mod knock;
pub(crate) mod login;
pub(crate) mod opened;
pub(crate) mod phases;
pub(crate) mod pooler;
pub(crate) mod provider;
pub(crate) mod rules;
pub(crate) mod session_facts;
pub(crate) mod session_settings;
pub(crate) mod socket_bounds;
pub(crate) mod stage;
pub(crate) mod startup_packet;
pub(crate) mod tls;
