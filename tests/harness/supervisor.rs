//! A shell between this process and each server. It stops the server when this process dies, in any
//! way.
//!
//! The shell reads from a pipe whose other end only this process holds. The name of a signal means:
//! send it. End of file means that the process is gone: stop the server and remove its folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::HarnessError;
use crate::account::Account;
use crate::error::Doing;

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// Sessions are ended, data are written out: SIGINT.
    Fast,
    /// All processes end at once, and the server recovers at its next start: SIGQUIT.
    Immediate,
    /// The main process is killed; its children find out by themselves: SIGKILL.
    Kill,
}

/// A running server process.
#[derive(Debug)]
pub(crate) struct Supervised {
    name: &'static str,
    shell: Child,
    orders: Option<ChildStdin>,
    /// The signal that ends the server, on drop and when this process dies.
    last_signal: Stop,
}

impl Supervised {
    /// Starts `server`. When we die it gets `last_signal`, and `remove` is deleted if it is given.
    pub(crate) fn start(
        account: Account,
        name: &'static str,
        server: &Command,
        log: &Path,
        (last_signal, remove): (Stop, Option<&Path>),
    ) -> Result<Self, HarnessError> {
        let log_file = OpenOptions::new().create(true).append(true).open(log);
        let log_file = log_file.and_then(|file| account.own(log).map(|()| file));
        let log_file = log_file.doing(|| format!("opening {}", log.display()))?;
        let errors = log_file
            .try_clone()
            .doing(|| "duplicating a file handle".to_owned())?;
        let mut shell = account
            .command("/bin/sh")
            .args(["-c", SUPERVISE, "sh", last_signal.name()])
            .arg(remove.unwrap_or_else(|| Path::new("")))
            .arg(server.get_program())
            .args(server.get_args())
            .envs(
                server
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::piped())
            .stdout(log_file)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .doing(|| format!("starting {name}"))?;
        let orders = shell.stdin.take();
        Ok(Self {
            name,
            shell,
            orders,
            last_signal,
        })
    }

    /// The process group of the server and its children.
    pub(crate) fn group(&self) -> u32 {
        self.shell.id()
    }

    /// How the server ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Orders the server to stop and waits for its end.
    pub(crate) async fn stop(mut self, how: Stop) -> Result<(), HarnessError> {
        self.order(how);
        let deadline = Instant::now() + PATIENCE;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                return Err(HarnessError::Stop {
                    server: self.name.to_owned(),
                    seconds: PATIENCE.as_secs(),
                });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    fn order(&mut self, how: Stop) {
        if let Some(orders) = &mut self.orders {
            // Fails only when the shell is gone, and then so is the server.
            let _ = writeln!(orders, "{}", how.name());
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.order(self.last_signal);
            let _ = self.shell.wait();
        }
    }
}

impl Stop {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// Arguments: the last signal, the folder to remove after the end, the server's command.
///
/// The second shell reads the orders, because the first must wait for the server: when the first
/// shell ends, the parent knows that the server has died. SIGCONT comes first, because a stopped
/// process keeps other signals pending.
const SUPERVISE: &str = r#"
signal=$1 folder=$2; shift 2
exec 3<&0 </dev/null
"$@" 3<&- & server=$!
{
    read -r order <&3
    trap '' TERM
    kill -CONT $server
    kill -"${order:-$signal}" $server
    if [ -z "$order" ] && [ -n "$folder" ]; then
        while kill -0 $server; do sleep 0.05; done
        rm -rf "$folder"
    fi
} 2>/dev/null & reader=$!
exec 3<&-
wait $server; status=$?
kill $reader 2>/dev/null
exit $status
"#;

const PATIENCE: Duration = Duration::from_secs(30);
