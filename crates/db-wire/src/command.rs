//! A finished command, and who is told of it.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// One finished command, as the wire saw it.
#[expect(
    clippy::exhaustive_structs,
    reason = "a watcher's own tests make commands; a new field is to be considered there"
)]
pub struct Command<'c> {
    /// The text with its placeholders.
    pub sql: &'c [u8],
    /// What the watcher keeps by this text.
    pub note: &'c Note,
    /// From sending it, or from the end of what was before it, to its completion.
    pub duration: Duration,
    /// The part of it until the first row, or until its completion where it has none; of a COPY FROM STDIN
    /// until the server was ready for rows, so that the rest is sending and storing them.
    pub executing: Duration,
    /// How many rows it returned or changed, by the server's tag.
    pub rows: u64,
    /// Why it failed; 08006 when the connection ended before the server had answered.
    pub sqlstate: Option<&'c SqlState>,
    /// Whether it ran in a transaction block.
    pub in_transaction: bool,
}

/// What a watcher keeps by a text for as long as the connection knows the text; of no meaning to the wire.
pub type Note = Mutex<Option<Arc<dyn Any + Send + Sync>>>;

/// Called with each finished command, on the task that drives the connection, between two reads.
pub type Watcher = Box<dyn Fn(&Command<'_>) + Send + Sync>;
