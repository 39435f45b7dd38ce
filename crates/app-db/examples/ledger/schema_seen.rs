//! Whether the schema is the one that this service was written for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use app_db::{Database, Error, SchemaState};

/// Remembers that the schema was ready.
///
/// After that it does not ask again. Later migrations may add something, but nobody removes what running code
/// needs, and a probe must not queue for a connection beside the requests.
#[derive(Clone, Default)]
pub(crate) struct SchemaSeen(Arc<AtomicBool>);

impl SchemaSeen {
    /// What the schema lacks, if it lacks anything.
    pub(crate) async fn look(&self, db: &Database) -> Result<Option<SchemaState>, Error> {
        if self.0.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let schema = db.schema().await?;
        self.0.store(schema.is_ready(), Ordering::Relaxed);
        Ok((!schema.is_ready()).then_some(schema))
    }
}
