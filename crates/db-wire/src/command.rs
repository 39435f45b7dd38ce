//! A finished command, and the watcher that is told of it.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// One finished command, as the wire saw it.
#[expect(
    clippy::exhaustive_structs,
    reason = "a watcher's own tests make commands, and must consider a new field"
)]
pub struct Command<'c> {
    /// The text with its placeholders.
    pub sql: &'c [u8],
    /// What the watcher has stored with this text.
    pub note: &'c Note,
    /// From the sending of the command, or from the end of the command before it, to its completion.
    pub duration: Duration,
    /// The time until the first row, or until completion if it has no rows. For COPY FROM STDIN it is the
    /// time until the server was ready for rows; the rest of the duration is sending and storing them.
    pub executing: Duration,
    /// How many rows it returned or changed, according to the server's tag.
    pub rows: u64,
    /// Why it failed; 08006 if the connection ended before the server had answered.
    pub sqlstate: Option<&'c SqlState>,
    /// Whether it ran in a transaction block.
    pub in_transaction: bool,
}

/// What a watcher stores with a text. It stays as long as the connection knows the text, and means nothing
/// to the wire.
pub type Note = Mutex<Option<Arc<dyn Any + Send + Sync>>>;

/// The wire calls it with each finished command, between two reads, on the task that drives the
/// connection.
pub type Watcher = Box<dyn Fn(&Command<'_>) + Send + Sync>;
