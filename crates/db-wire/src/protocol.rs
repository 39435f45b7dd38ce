//! The bytes of PostgreSQL's protocol, version 3: frames, whole messages, and buffers of them.

pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod outbox;
