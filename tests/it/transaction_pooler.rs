//! Right answers and settings that do not leak, through PgBouncer in transaction mode, old and new.

mod disturbed;
mod load;
mod objects;
mod pipelines;
mod plans;
mod sessions;
mod settings;

use app_db::Database;
use harness::{Bouncer, BouncerBinary, BouncerOptions, PoolMode, Server, TestDatabase};

/// A PgBouncer that the tests go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Keeps no prepared statements.
    Old,
    /// Could keep them, and is told not to.
    NewForgetful,
    /// Keeps them for each client.
    NewKeeping,
}

impl Version {
    pub(crate) const ALL: [Self; 3] = [Self::Old, Self::NewForgetful, Self::NewKeeping];

    /// Options for this PgBouncer with few server connections, so that clients share them; `None`
    /// where the machine has no such program, which is said.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must see it")]
    fn options(self, mode: PoolMode) -> Option<BouncerOptions> {
        let (binary, statements) = match self {
            Self::Old => (BouncerBinary::older_than(1, 21), None),
            Self::NewForgetful => (BouncerBinary::at_least(1, 21), Some("0")),
            Self::NewKeeping => (BouncerBinary::at_least(1, 21), Some("200")),
        };
        let Some(binary) = binary else {
            // A build server must have both.
            assert!(
                std::env::var_os("CI").is_none(),
                "there is no PgBouncer for {self:?}"
            );
            eprintln!("NOTICE: there is no PgBouncer for {self:?}; it is not tested");
            return None;
        };
        let options = BouncerOptions::mode(mode).pool_size(5).binary(binary);
        Some(match statements {
            Some(count) => options.setting("max_prepared_statements", count),
            None => options,
        })
    }

    pub(crate) async fn start(self, server: &Server) -> Option<Bouncer> {
        let options = self.options(PoolMode::Transaction)?;
        Some(Bouncer::start(server, options).await.unwrap())
    }
}

/// A handle through a pooler, with further variables.
async fn through(db: &TestDatabase, bouncer: &Bouncer, more: &[(&str, &str)]) -> Database {
    crate::transaction::database(&db.pooled_url(bouncer), more).await
}
