//! What the service consists of.

use app_db::Database;

use crate::lifecycle::Lifecycle;
use crate::schema_seen::SchemaSeen;

/// What every request handler gets.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) db: Database,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) schema: SchemaSeen,
}
