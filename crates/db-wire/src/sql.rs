//! What the wire reads from the text of a statement. One lexer ([`tokens`]) serves every decision.

pub(crate) mod alone;
pub(crate) mod harmless;
pub(crate) mod keep;
pub(crate) mod local_settings;
pub(crate) mod reads;
pub(crate) mod residue;
pub(crate) mod session_objects;
pub(crate) mod settings;
pub(crate) mod statement_timeout;
pub(crate) mod statements;
pub(crate) mod tokens;
pub(crate) mod traits;
pub(crate) mod transactions;
