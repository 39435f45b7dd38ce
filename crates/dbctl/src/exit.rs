//! How a command ends.

use std::process::ExitCode;

/// The exit codes. Scripts rely on them, so none changes its meaning before the next major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The command failed, or the doctor found a problem.
    Failed = 1,
    /// The arguments or the configuration are wrong.
    Configuration = 2,
    /// `migrate status --check` found pending migrations.
    Pending = 3,
    /// The direct URL leads to a pooler.
    Pooled = 4,
    /// An applied migration was edited, or a pending one is older than an applied one. Or something differs from the
    /// database: the approved plan, or `schema.rs`.
    OutOfOrder = 5,
    /// `migrate lint` found errors.
    Lint = 6,
    /// Another migrator held the lock for too long, or `migrate wait` waited in vain.
    Locked = 7,
    /// No connection to the server.
    Connection = 8,
    /// SIGINT or SIGTERM.
    Interrupted = 130,
}

/// The same list for `--help`.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0    done
  1    failed: a migration, a query, a file; or the doctor found a problem
  2    wrong arguments or configuration
  3    migrations are pending (migrate status --check)
  4    the direct URL leads to a pooler
  5    files and database differ: an applied migration was edited, a pending one is older than an applied one,
       --plan-file has other migrations, or schema.rs has another schema (migrate schema --check)
  6    migrate lint found errors
  7    another migrator held the lock for too long, or migrations were still pending (migrate wait)
  8    no connection to the server
  130  interrupted by a signal";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_exit_code() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Configuration,
            Exit::Pending,
            Exit::Pooled,
            Exit::OutOfOrder,
            Exit::Lint,
            Exit::Locked,
            Exit::Connection,
            Exit::Interrupted,
        ] {
            assert!(
                EXIT_CODES.contains(&format!("\n  {} ", exit as u8)),
                "{exit:?}"
            );
        }
    }
}
