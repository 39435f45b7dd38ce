//! `dbctl migrate lock`.

use app_db::{LockHolder, Migrator};
use clap::Subcommand;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;
use crate::migrate::confirmation::Confirmation;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print who has the migrators' lock, and its keys in `pg_locks`
    Info {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End the session that has the migrators' lock
    ForceRelease {
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

pub(super) async fn run(command: &Command, migrator: &Migrator) -> Result<Exit, CommandFailure> {
    match command {
        Command::Info { json } => info(migrator, *json).await?,
        Command::ForceRelease { confirmation } => {
            confirmation.require_name(
                migrator.database(),
                "ending the session of another migrator",
            )?;
            match migrator.force_release().await? {
                Some(holder) => output::progress(format_args!("ended {holder}")),
                None => output::progress("nobody has the lock"),
            }
        }
    }
    Ok(Exit::Done)
}

async fn info(migrator: &Migrator, json: bool) -> Result<(), CommandFailure> {
    let info = migrator.lock_info().await?;
    if json {
        return output::json(&info);
    }
    let mut table = output::table(&[
        "database", "schema", "classid", "objid", "held by", "state", "for",
    ]);
    let holder = info.holder.as_ref();
    table.add_row([
        info.database.clone(),
        info.schema.clone(),
        info.classid.to_string(),
        info.objid.to_string(),
        holder.map_or_else(|| "nobody".to_owned(), LockHolder::to_string),
        holder
            .and_then(|holder| holder.state.clone())
            .unwrap_or_default(),
        holder
            .and_then(|holder| holder.connected_s)
            .map_or_else(String::new, |seconds| format!("{seconds} s")),
    ]);
    output::data(table.trim_fmt())
}
