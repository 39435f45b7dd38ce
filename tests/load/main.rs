//! Asks a database mixed questions whose answers are known beforehand, and counts the wrong ones.
//!
//! The tests run two of these at a time through a pooler: tokio-postgres names statements per process,
//! so that only two processes give different statements the same name. One line of JSON on standard
//! output says what came of it.

mod asker;
mod mood;
mod questions;
mod schema;
mod tally;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use app_db::{Config, Database};
use clap::Parser;
use diesel_async::{AsyncConnection, AsyncPgConnection};

use self::asker::{Asker, Way};
use self::tally::Tally;

/// Asks mixed questions and counts right and wrong answers.
#[derive(Parser, Clone)]
#[command(name = "mixed-load", version)]
struct Options {
    /// Where to ask.
    #[arg(long)]
    url: String,
    /// The number of this process; every process asks about rows of its own.
    #[arg(long, default_value_t = 1)]
    process: i32,
    /// How many connections ask at the same time.
    #[arg(long, default_value_t = 10)]
    connections: u16,
    /// How many questions are asked on each.
    #[arg(long, default_value_t = 1000)]
    questions: i32,
    /// Asks over plain diesel-async connections, for the contrast.
    #[arg(long)]
    stock: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(options)));
    let said = outcome.and_then(|tally: Tally| {
        let line = serde_json::to_string(&tally)?;
        writeln!(std::io::stdout(), "{line}")?;
        Ok(())
    });
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done when standard error is closed.
            let _ = writeln!(std::io::stderr(), "mixed-load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<Tally, Box<dyn Error + Send + Sync>> {
    let max = options.connections.to_string();
    let vars = [
        ("APP_ENV", "test"),
        ("DATABASE_URL", &options.url),
        ("APP_DB__PROFILE__MIN_IDLE", &max),
        ("APP_DB__PROFILE__MAX", &max),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "15s"),
        ("APP_DB__PROFILE__CONNECT_TIMEOUT", "10s"),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let database = if options.stock {
        None
    } else {
        let config = Config::load_from(std::path::Path::new("/nonexistent"), vars)?;
        Some(Database::connect(&config).await?)
    };
    let tasks: Vec<_> = (0..i32::from(options.connections))
        .map(|task| {
            let (database, options) = (database.clone(), options.clone());
            tokio::spawn(async move {
                let way = match database {
                    Some(database) => Way::Ours(database),
                    None => match AsyncPgConnection::establish(&options.url).await {
                        Ok(conn) => Way::Stock(Box::new(conn)),
                        Err(error) => return Tally::of_failure(&error),
                    },
                };
                let asker = Asker::new(options.process, task, way);
                asker.ask(options.questions).await
            })
        })
        .collect();
    let mut tally = Tally::default();
    for task in tasks {
        tally.add(task.await?);
    }
    if let Some(database) = database {
        let status = &database.status()[0];
        tally.pooler = status.pooler.to_string();
        tally.opened = status.connects.opened;
        tally.discarded = status.closed.discarded;
    }
    Ok(tally)
}
