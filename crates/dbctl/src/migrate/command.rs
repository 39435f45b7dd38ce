//! The commands of `dbctl migrate`, and what they take.

use std::path::PathBuf;
use std::time::Duration;

use app_db::Phase;
use clap::{Args, Subcommand};

use crate::migrate::confirmation::Confirmation;
use crate::migrate::{lint, lock, new, schema, schema_dump};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Apply pending migrations
    #[command(alias = "up")]
    Run {
        #[command(flatten)]
        chosen: Chosen,
        /// Print what would be done, as `plan` does, and do nothing
        #[arg(long)]
        dry_run: bool,
        /// Print what would be done as a script for psql, and do nothing
        #[arg(long, conflicts_with_all = ["dry_run", "json"])]
        sql: bool,
        /// Apply only the migrations in FILE, the output of `plan --json`; exit code 5 if others are pending, or
        /// an `up.sql` has changed since
        #[arg(long, value_name = "FILE")]
        plan_file: Option<PathBuf>,
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
        /// End sessions that block a migration, if they have been idle in their transaction for this long, such
        /// as `5min`
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        end_idle_blockers: Option<Duration>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Print what a run would do: its locks, the sizes of the tables, and which tables it rewrites. Takes no lock
    /// without --execute-rollback
    Plan {
        #[command(flatten)]
        chosen: Chosen,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Run the migrations in a transaction, roll it back, and print the locks that it took and the times.
        /// Holds these locks until the end
        #[arg(long)]
        execute_rollback: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Revert the newest applied migrations, newest first
    #[command(alias = "down")]
    Revert {
        /// How many to revert
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        step: u32,
        /// Revert all applied migrations
        #[arg(long, conflicts_with = "step")]
        all: bool,
        /// Revert every migration that is newer than this version
        #[arg(long, value_name = "VERSION", conflicts_with_all = ["step", "all"])]
        to: Option<String>,
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// Revert the newest applied migration and apply it again
    Redo {
        /// Print each event as a line of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// List all migrations with their state; exit code 5 if an applied one was edited
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Exit with code 3 if migrations are pending
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        route: Route,
    },
    /// Look for what is dangerous in migrations; needs no server; exit code 6 if there are errors
    Lint(lint::Arguments),
    /// Apply, revert and apply every migration in a scratch database, and compare the catalogue
    #[command(alias = "verify-down")]
    Verify {
        /// The URL of an empty database. Without it, one is created on the server of the direct URL
        #[arg(long, value_name = "URL")]
        scratch_url: Option<String>,
        /// Revert only migrations that have changed since this revision of git; apply the others once
        #[arg(long, value_name = "GITREF")]
        since: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        files: Files,
        #[command(flatten)]
        route: Route,
    },
    /// Compare schema.rs with the database, or print the schema
    #[command(args_conflicts_with_subcommands = true)]
    Schema {
        #[command(subcommand)]
        command: Option<SchemaCommand>,
        #[command(flatten)]
        arguments: schema::Arguments,
        #[command(flatten)]
        route: Route,
    },
    /// Record migrations as applied without running them, if the database has what they create
    Baseline {
        /// The last version to record
        #[arg(long, value_name = "VERSION")]
        to: String,
        #[command(flatten)]
        route: Route,
    },
    /// Wait until somebody else has applied the migrations; exit code 7 if that takes too long
    Wait {
        /// How long to wait, such as `5min`
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5min")]
        timeout: Duration,
        #[command(flatten)]
        route: Route,
    },
    /// Show or end the session that has the migrators' lock
    Lock {
        #[command(subcommand)]
        command: lock::Command,
        #[command(flatten)]
        route: Route,
    },
    /// List edited, unfinished and failed migrations and invalid indexes, with a remedy for each; or correct the
    /// record. Runs no migration
    #[command(group = clap::ArgGroup::new("repair").args(["accept", "restart"]))]
    Repair {
        /// Accept the `up.sql` of this applied migration as it is now
        #[arg(long, value_name = "VERSION")]
        accept: Option<String>,
        /// Let this unfinished migration start again with its first statement. Undoes nothing
        #[arg(long, value_name = "VERSION")]
        restart: Option<String>,
        /// With --restart: go on with this statement, counted from 1, because the statements before it have run
        #[arg(long, value_name = "STATEMENT", requires = "restart")]
        at: Option<usize>,
        /// Print the list as JSON
        #[arg(long, conflicts_with = "repair")]
        json: bool,
        #[command(flatten)]
        route: Route,
    },
    /// Make the directory of a new migration, named after the time and NAME
    New {
        /// What the migration does, as in `create_accounts`: lower-case letters, digits and `_`
        name: new::MigrationName,
        #[command(flatten)]
        template: new::Template,
    },
}

#[derive(Subcommand)]
pub(crate) enum SchemaCommand {
    /// Print schema.rs as `diesel print-schema` does, or SQL; the program has to be installed
    Dump(schema_dump::Arguments),
}

/// Which of the pending migrations to apply.
#[derive(Args)]
pub(crate) struct Chosen {
    /// Apply nothing beyond this version
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<String>,
    /// Apply at most this many
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) step: Option<u32>,
    /// Apply the migrations of one phase: `expand` before the new code starts, `contract` after the old code is gone
    #[arg(long, value_name = "PHASE")]
    pub(super) phase: Option<Phase>,
    /// Also apply pending migrations that are older than an applied one
    #[arg(long)]
    pub(super) allow_out_of_order: bool,
    /// Lint these migrations first, with the sizes of their tables; end with exit code 6 if there are errors
    #[arg(long)]
    pub(super) lint: bool,
    #[command(flatten)]
    pub(super) files: Files,
    #[command(flatten)]
    pub(super) route: Route,
}

#[derive(Args)]
pub(crate) struct Route {
    /// Accept a proxy in front of the server that keeps one server connection per client
    #[arg(long)]
    pub(super) through_proxy: bool,
}

#[derive(Args)]
pub(crate) struct Files {
    /// Accept a file without a statement, such as one with only comments
    #[arg(long)]
    pub(super) allow_empty: bool,
}
