//! `dbctl database`.

use app_db::{Config, Migrator};
use clap::Subcommand;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::migrate::confirmation::Confirmation;
use crate::migrate::run::apply;
use crate::output;
use crate::progress::Progress;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create the database of the direct URL, if it does not exist
    Create,
    /// Drop the database of the direct URL, if it exists
    Drop {
        /// End the sessions that use it first
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Create the database, if it does not exist, and apply all pending migrations
    Setup,
}

pub(crate) async fn run(
    command: Command,
    config: &Config,
    progress: &Progress,
) -> Result<Exit, CommandFailure> {
    let migrator = Migrator::from_config(config)?;
    match command {
        Command::Create => create(&migrator).await?,
        Command::Drop {
            force,
            confirmation,
        } => {
            confirmation.require(config, migrator.database(), "dropping the database")?;
            let name = migrator.database();
            if migrator.drop_database(force).await? {
                output::progress(format_args!("dropped {name}"));
            } else {
                output::progress(format_args!("{name} is not there"));
            }
        }
        Command::Setup => {
            create(&migrator).await?;
            // Nobody uses a new database yet, so both phases of a deployment can run at once.
            let migrator = migrator.allow_both_phases(true);
            return apply(migrator, false, progress).await;
        }
    }
    Ok(Exit::Done)
}

async fn create(migrator: &Migrator) -> Result<(), CommandFailure> {
    let name = migrator.database();
    if migrator.create_database().await? {
        output::progress(format_args!("created {name}"));
    } else {
        output::progress(format_args!("{name} is there already"));
    }
    Ok(())
}
