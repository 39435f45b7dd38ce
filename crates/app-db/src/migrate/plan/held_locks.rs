//! The locks that a session holds on relations at one instant.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

use crate::migrate::effect::lock_mode::LockMode;
use crate::migrate::plan::planned::RehearsedLock;

/// The session's locks so far, and the names of the relations.
#[derive(Default)]
pub(super) struct HeldLocks {
    /// Dropped relations keep their names here.
    names: BTreeMap<u32, String>,
    held: BTreeMap<u32, LockMode>,
}

impl HeldLocks {
    /// Reads the names of all relations, before a statement that may drop some of them.
    pub(super) async fn learn(&mut self, client: &Client) -> Result<(), Error> {
        for row in client.query(NAMES, &[]).await? {
            self.names.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok(())
    }

    /// The locks that are new since the last look, by name.
    pub(super) async fn look(&mut self, client: &Client) -> Result<Vec<RehearsedLock>, Error> {
        let mut now: BTreeMap<u32, LockMode> = BTreeMap::new();
        for row in client.query(HELD, &[]).await? {
            let (oid, mode): (u32, String) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(mode) = LockMode::named(&mode) {
                let strongest = now.entry(oid).or_insert(mode);
                *strongest = mode.max(*strongest);
            }
        }
        self.learn(client).await?;
        let is_new = |(oid, mode): &(&u32, &LockMode)| {
            self.held.get(oid).is_none_or(|before| before < *mode)
        };
        let new = now.iter().filter(is_new).filter_map(|(oid, mode)| {
            Some(RehearsedLock {
                relation: self.names.get(oid)?.clone(),
                lock_mode: *mode,
            })
        });
        let mut new: Vec<_> = new.collect();
        new.sort_by(|a, b| a.relation.cmp(&b.relation));
        self.held = now;
        Ok(new)
    }
}

/// The server's own relations are left out, as every query locks some.
const NAMES: &str = "SELECT c.oid, format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' \
     AND n.nspname <> 'information_schema' \
     AND c.relname NOT IN ('__diesel_schema_migrations', '__dbctl_migrations')";

const HELD: &str = "SELECT relation, mode FROM pg_catalog.pg_locks \
     WHERE pid = pg_backend_pid() AND granted AND relation IS NOT NULL \
     AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())";
