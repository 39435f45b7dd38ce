//! Runs the migrations of another project: `just migration-corpus FOLDER`.
//!
//! It applies each folder of diesel migrations below FOLDER twice, to two fresh databases of a private server:
//! with psql, file by file, and with the migrator. pg_dump has to show the same schema for both. Then it reverts
//! everything as far as the files allow, and applies it again. It prints a line for each folder, with times.

mod folder;
mod psql;
mod trial;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use harness::Cluster;

use self::trial::Trial;

/// Compares the migrator with psql, using the migrations of a checkout.
#[derive(Parser)]
#[command(name = "migration-corpus")]
struct Arguments {
    /// The checkout; every folder below it with diesel migrations is tried.
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let folders = folder::below(&arguments.folder);
    if folders.is_empty() {
        let _ = writeln!(
            std::io::stderr(),
            "no migrations below {}",
            arguments.folder.display()
        );
        return ExitCode::from(2);
    }
    let cluster = match Cluster::shared().await {
        Ok(cluster) => cluster,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut all_well = true;
    for folder in folders {
        let outcome = Trial::of(cluster.server(), &folder).await;
        let line = match &outcome {
            Ok(trial) => trial.to_string(),
            Err(problem) => problem.clone(),
        };
        all_well &= outcome.is_ok_and(|trial| trial.is_well());
        let _ = writeln!(std::io::stdout(), "{}: {line}", folder.display());
    }
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
