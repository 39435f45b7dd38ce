//! Runs a command beside a PostgreSQL cluster that exists only for it.
//!
//! The command gets `DATABASE_URL` and `DATABASE_URL_DIRECT` of an empty database `app`. Tests find the whole
//! cluster through `DB_TESTS_CLUSTER`. The server's own client programs come first on `PATH`, and
//! `DB_TESTS_LACKING` lists the abilities that the server lacks, one on each line. Everything is removed when the
//! command or this program ends, in any way.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

use clap::{Parser, ValueEnum};
use harness::{AppServers, Binaries, BouncerOptions, ClusterOptions, PoolMode, lacking};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a command with a PostgreSQL cluster of its own.
#[derive(Parser)]
#[command(name = "with-cluster", version)]
struct Arguments {
    /// Puts a PgBouncer in this mode behind DATABASE_URL.
    #[arg(long, value_enum)]
    bouncer: Option<Mode>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Session,
    Transaction,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(status) => ExitCode::from(code(status)),
        Err(error) => {
            report(error.as_ref());
            ExitCode::from(NOT_RUN)
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitStatus, Box<dyn Error>> {
    let bouncer = arguments.bouncer.map(|mode| match mode {
        Mode::Session => BouncerOptions::mode(PoolMode::Session),
        Mode::Transaction => BouncerOptions::mode(PoolMode::Transaction),
    });
    // It listens before the start, because a signal during the start must not leave anything behind.
    let mut signals = Signals::listen()?;
    let servers = tokio::select! {
        started = AppServers::start(ClusterOptions::default().max_connections(300), bouncer, None) => started?,
        signal = signals.next() => return Ok(ExitStatus::from_raw(signal.as_raw())),
    };
    let mut command = Command::new(&arguments.command[0]);
    command
        .args(&arguments.command[1..])
        .envs(servers.variables());
    command.env("DB_TESTS_CLUSTER", servers.cluster().folder());
    command.env("PATH", path(servers.cluster().binaries()?)?);
    let lacking = lacking(servers.cluster()).await?;
    let lines: Vec<_> = lacking.iter().map(ToString::to_string).collect();
    command.env("DB_TESTS_LACKING", lines.join("\n"));
    if std::env::var_os("APP_ENV").is_none() {
        command.env("APP_ENV", "test");
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("{} did not start: {error}", arguments.command[0].display()))?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            signal = signals.next() => forward(&child, signal),
        }
    }
}

/// `PATH` with the server's own client programs first, because a client program has to be as new as its server.
fn path(binaries: &Binaries) -> Result<OsString, std::env::JoinPathsError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [binaries.folder().to_owned()].into_iter();
    std::env::join_paths(folders.chain(std::env::split_paths(&path)))
}

/// Passes a signal on, unless the terminal has already sent it to the command.
fn forward(child: &Child, signal: Signal) {
    let by_terminal = signal == Signal::INT && io::stdin().is_terminal();
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let (Some(pid), false) = (pid, by_terminal) {
        // A command that has just ended needs no signal.
        let _ = kill_process(pid, signal);
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

/// The exit code a shell would report.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[expect(
    clippy::print_stderr,
    reason = "a command's errors go to standard error"
)]
fn report(error: &dyn Error) {
    eprint!("with-cluster: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
}

/// The exit code of `env` and `timeout` if they could not run the command.
const NOT_RUN: u8 = 125;
