//! One instance of a service among several, as a separate process: a pooler mixes up the statement names of
//! different processes.

use std::env;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::Instant;

use harness::BouncerBinary;
use tokio::process::Command;

use super::customers::{Habits, LENGTH, serve};
use super::ours::Ours;
use super::plain::Plain;
use super::side::Side;
use super::stage::Stage;
use super::tally::Counts;
use crate::error::{DemoError, Doing};

/// Two processes of this program.
pub(crate) struct Instances;

impl Instances {
    /// Starts both behind a PgBouncer, and returns what their customers have seen in total.
    pub(super) async fn run(
        side: Side,
        stage: &Stage,
        binary: Option<&BouncerBinary>,
    ) -> Result<Counts, DemoError> {
        let (_bouncer, url) = stage.bouncer(binary).await?;
        let (one, other) = tokio::join!(start(side, &url), start(side, &url));
        Ok(one?.and(other?))
    }
}

async fn start(side: Side, url: &str) -> Result<Counts, DemoError> {
    let output = Command::new("/proc/self/exe")
        .args(["--instance", side.argument()])
        .env(URL, url)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .doing(|| "starting another instance".to_owned())?;
    serde_json::from_slice(&output.stdout)
        .map_err(io::Error::from)
        .doing(|| format!("reading what an instance printed ({})", output.status))
}

/// Runs as such a process: serves, and prints its counts.
pub(crate) async fn be(side: Side) -> Result<(), DemoError> {
    let url = env::var(URL).map_err(|_| io::Error::from(io::ErrorKind::NotFound));
    let url = url.doing(|| format!("reading {URL}"))?;
    let end = Instant::now() + LENGTH;
    let habits = Habits::default();
    let seen = match side {
        Side::Plain => serve(&Plain::open(&url).await?, habits, end).await,
        Side::Ours => serve(&Ours::open(&url).await?, habits, end).await,
    };
    let text = serde_json::to_string(&seen.counts()).map_err(io::Error::from);
    text.and_then(|text| writeln!(io::stdout(), "{text}"))
        .doing(|| "printing the counts".to_owned())
}

const URL: &str = "DEMO_INSTANCE_URL";
