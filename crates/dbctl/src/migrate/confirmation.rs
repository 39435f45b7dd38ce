//! `--confirm DBNAME`.

use app_db::Config;
use clap::Args;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;

/// What a person types to show that they know which database it is.
#[derive(Args)]
pub(crate) struct Confirmation {
    /// The name of the database; needed in production for what cannot be undone
    #[arg(long, value_name = "DBNAME")]
    confirm: Option<String>,
}

impl Confirmation {
    /// Refuses in production unless the caller names the database. A wrong name is refused anywhere.
    pub(crate) fn require(
        &self,
        config: &Config,
        database: &str,
        deed: &str,
    ) -> Result<(), CommandFailure> {
        if self.confirm.is_none() && !config.environment().is_production() {
            return Ok(());
        }
        let environment = config.environment();
        self.require_name(database, &format!("{deed} in {environment}"))
    }

    /// Refuses unless the caller names the database.
    pub(crate) fn require_name(&self, database: &str, deed: &str) -> Result<(), CommandFailure> {
        let problem = match self.confirm.as_deref() {
            Some(given) if given == database => return Ok(()),
            None => format!("{deed} needs `--confirm {database}`"),
            Some(given) => format!("--confirm {given}: the database is {database}"),
        };
        Err(CommandFailure::new(Exit::Configuration, problem))
    }

    /// Whether the caller names the database.
    pub(crate) fn is_given(&self) -> bool {
        self.confirm.is_some()
    }
}
