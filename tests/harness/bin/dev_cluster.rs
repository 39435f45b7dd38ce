//! The development servers of `just up` and `just down`.
//!
//! `up` starts `serve` as a process of its own, which keeps PostgreSQL and PgBouncer until `down`.
//! Data and URLs lie in `target/dev`. The next start takes the same ports, if they are free, and the same password.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::num::ParseIntError;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use harness::{AppServers, Bouncer, BouncerBinary, BouncerOptions, ClusterOptions, kept_folder};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// Keeps a PostgreSQL and a PgBouncer for development.
#[derive(Parser)]
#[command(name = "dev-cluster", version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,

    /// Where data and URLs lie.
    #[arg(long, global = true, default_value = FOLDER)]
    folder: PathBuf,
}

#[derive(Subcommand)]
enum Action {
    /// Starts the servers, unless they run, and prints their URLs.
    Up,
    /// Stops them and keeps the data.
    Down,
    /// Runs them until SIGTERM.
    #[command(hide = true)]
    Serve,
}

fn main() -> ExitCode {
    let Arguments { action, folder } = Arguments::parse();
    let done = match action {
        Action::Up => up(&folder),
        Action::Down => down(&folder),
        Action::Serve => serve(&folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("dev-cluster: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn up(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    if running(folder).is_none() {
        let _ = fs::remove_file(folder.join(ENV));
        let log = File::create(folder.join("serve.log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        // It has a process group of its own, so that the terminal's Ctrl-C does not reach it.
        command
            .arg("serve")
            .arg("--folder")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        wait_for_env(folder, &mut command.spawn()?)?;
    }
    say(&fs::read_to_string(folder.join(ENV))?);
    let env = folder.canonicalize()?.join(ENV);
    say(&format!("For the present shell: . {}", env.display()));
    Ok(())
}

fn wait_for_env(folder: &Path, server: &mut Child) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    while !folder.join(ENV).exists() {
        if server.try_wait()?.is_some() || start.elapsed() > PATIENCE {
            return Err(fs::read_to_string(folder.join("serve.log"))?.into());
        }
        std::thread::sleep(INTERVAL);
    }
    Ok(())
}

fn down(folder: &Path) -> Result<(), Box<dyn Error>> {
    let Some(pid) = running(folder) else {
        say("the development servers are not running");
        return Ok(());
    };
    kill_process(pid, Signal::TERM)?;
    let start = Instant::now();
    while folder.join(PID).exists() {
        if start.elapsed() > PATIENCE {
            return Err(format!("process {} did not stop", pid.as_raw_nonzero()).into());
        }
        std::thread::sleep(INTERVAL);
    }
    say("stopped; the data, the ports and the password stay for the next start");
    Ok(())
}

/// The process that serves, if it is alive.
fn running(folder: &Path) -> Option<Pid> {
    let pid = Pid::from_raw(
        fs::read_to_string(folder.join(PID))
            .ok()?
            .trim()
            .parse()
            .ok()?,
    )?;
    test_kill_process(pid).is_ok().then_some(pid)
}

#[tokio::main(flavor = "current_thread")]
async fn serve(folder: &Path) -> Result<(), Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let mut hang_up = signal(SignalKind::hangup())?;
    let last = Last::read(folder).map_err(|error| {
        let file = folder.join(LAST);
        format!(
            "{}: {error}; without the file it starts with the usual ports",
            file.display()
        )
    })?;
    let options = ClusterOptions::default()
        .kept_in(&kept_folder(folder)?)
        .port(last.port);
    let bouncer = BouncerBinary::find()
        .ok()
        .map(|_| BouncerOptions::default().port(last.bouncer_port));
    let servers = AppServers::start(options, bouncer, last.password).await?;
    Last::of(&servers).write(folder)?;
    let mut text = String::new();
    if servers.bouncer().is_none() {
        text.push_str("# No pgbouncer was found: DATABASE_URL goes straight to the server.\n");
    }
    for (name, url) in servers.variables() {
        text.push_str(&format!("export {name}={url}\n"));
    }
    write_whole(&folder.join(PID), &std::process::id().to_string())?;
    write_whole(&folder.join(ENV), &text)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // The terminal that started us may close.
            _ = hang_up.recv() => {}
        }
    }
    let stopped = servers.stop().await;
    let _ = (
        fs::remove_file(folder.join(ENV)),
        fs::remove_file(folder.join(PID)),
    );
    Ok(stopped?)
}

/// What the next start takes again, so that the URLs in a service's `.env` stay right.
struct Last {
    port: u16,
    bouncer_port: u16,
    /// None before the first start.
    password: Option<String>,
}

impl Last {
    fn of(servers: &AppServers) -> Self {
        Self {
            port: servers.cluster().port(),
            bouncer_port: servers.bouncer().map_or(BOUNCER_PORT, Bouncer::port),
            password: Some(servers.password().to_owned()),
        }
    }

    fn read(folder: &Path) -> Result<Self, ParseIntError> {
        let text = fs::read_to_string(folder.join(LAST)).unwrap_or_default();
        let mut lines = text.lines();
        let mut port = |usual| lines.next().map_or(Ok(usual), str::parse);
        Ok(Self {
            port: port(PORT)?,
            bouncer_port: port(BOUNCER_PORT)?,
            password: lines.next().map(str::to_owned),
        })
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let password = self.password.as_deref().unwrap_or_default();
        let text = format!("{}\n{}\n{password}\n", self.port, self.bouncer_port);
        write_whole(&folder.join(LAST), &text)
    }
}

/// Writes a file that appears completely or not at all, and that only this account can read,
/// because it may hold a password.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let growing = path.with_extension("growing");
    let _ = fs::remove_file(&growing);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&growing)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&growing, path)
}

#[expect(clippy::print_stderr, reason = "what the user reads")]
fn say(text: &str) {
    eprintln!("{}", text.trim_end());
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/dev");
const ENV: &str = "env";
const LAST: &str = "last";
const PID: &str = "pid";
const PORT: u16 = 5433;
const BOUNCER_PORT: u16 = 6433;
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(20);
