//! The options of the demo.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::compare::Side;

/// Runs the ledger service under load and rotates its password twice, then compares with plain diesel-async.
#[derive(Parser, Clone)]
#[command(name = "demo", version)]
pub(crate) struct Options {
    /// How long the load runs.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub(crate) seconds: u64,
    /// How many clients send requests at the same time, each as soon as it has its last answer.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) tasks: u32,
    /// When PgBouncer takes the server's connection back: at the end of the session or of each transaction.
    #[arg(long, value_enum, default_value_t = Mode::Transaction)]
    pub(crate) pooler: Mode,
    /// Leaves out the comparison with plain diesel-async and bb8.
    #[arg(long)]
    pub(crate) ledger_only: bool,
    /// Runs as one of two services behind PgBouncer in that comparison. Set by the demo itself.
    #[arg(long, hide = true)]
    pub(crate) instance: Option<Side>,
    /// The folder for report.json, comparison.json and ledger.log.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/demo"), hide_default_value = true)]
    pub(crate) folder: PathBuf,
    /// The folder for everything that is removed at the end; it must not exist. Set by the demo itself.
    #[arg(long, hide = true)]
    pub(crate) scratch: Option<PathBuf>,
}

/// PgBouncer's pool mode.
#[derive(Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Session,
    Transaction,
}
