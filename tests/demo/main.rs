//! Shows the main job of this workspace: a ledger service under load whose password changes.
//!
//! It starts a private PostgreSQL with a PgBouncer in front, in transaction mode unless an option says
//! otherwise. It migrates through the direct URL, runs the built `ledger` example through the pooled URL, moves
//! money over HTTP, rotates the password twice during the run, and checks the books in SQL. Then it puts the
//! same load and the same faults on plain diesel-async with bb8 and on app-db, and compares them. `target/demo`
//! gets `report.json`, `comparison.json` and `ledger.log`. Nothing else stays, even after a signal.
//!
//! Exit code: 0 if no request to app-db failed and the books balance, 1 if not, 128 + n after signal n.

mod books;
mod compare;
mod error;
mod ledger;
mod load;
mod login;
mod options;
mod progress;
mod report;
mod run;
mod scratch;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use self::error::DemoError;
use self::options::Options;
use self::progress::Progress;
use self::scratch::Scratch;

/// How the demo ended, if running it did not fail.
enum End {
    /// The run is over; says whether the result was good.
    Verdict(bool),
    Interrupted(Signal),
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(side) = options.instance {
        let served = runtime().and_then(|runtime| runtime.block_on(compare::instance::be(side)));
        return served.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS);
    }
    let Some(scratch) = options.scratch.clone() else {
        return failed(&scratch::begin_again_in_one());
    };
    let ended = runtime().and_then(|runtime| {
        // The runtime is entered before, so `scratch` is removed after the runtime and everything that uses the
        // folder.
        let scratch = Scratch::at(scratch);
        let ended = runtime.block_on(demo(options, &scratch));
        drop(runtime);
        ended
    });
    match ended {
        Ok(End::Verdict(true)) => ExitCode::SUCCESS,
        Ok(End::Verdict(false)) => ExitCode::FAILURE,
        Ok(End::Interrupted(signal)) => {
            ExitCode::from(u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX))
        }
        Err(error) => failed(&error),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.map_err(|source| DemoError::Io {
        doing: "starting the runtime".to_owned(),
        source,
    })
}

/// Runs until the end or a signal, whichever is first. Dropping the started servers stops them.
async fn demo(options: Options, scratch: &Scratch) -> Result<End, DemoError> {
    let progress = Progress::new();
    let mut signals = Signals::listen().map_err(|source| DemoError::Io {
        doing: "listening for signals".to_owned(),
        source,
    })?;
    scratch.create()?;
    tokio::select! {
        verdict = run::run(&options, scratch, &progress) => verdict.map(End::Verdict),
        signal = signals.next() => {
            progress.say("interrupted: stopping the servers");
            Ok(End::Interrupted(signal))
        }
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// Says why the demo could not be run to its end.
fn failed(error: &DemoError) -> ExitCode {
    let mut text = format!("demo failed: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    // If standard error is closed, only the exit code is left.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}
