//! A program that prints the secret.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use db_config::CommandEnvironment;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::credentials::format;
use crate::credentials::source::{
    CredentialSource, CredentialsError, CredentialsProblem, Fetched, MOST,
};

/// Runs a program directly, without a shell, without standard input and without most of the environment.
///
/// The source discards the program's standard error, which may quote the secret. It kills the program and every process
/// that the program started: when the program takes too long, when it prints too much, and when it ends.
#[derive(Debug)]
pub(super) struct CommandSource {
    argv: Vec<String>,
    environment: CommandEnvironment,
    /// The user for a secret that names no user.
    user: String,
}

impl CommandSource {
    pub(super) fn new(argv: Vec<String>, environment: CommandEnvironment, user: String) -> Self {
        Self {
            argv,
            environment,
            user,
        }
    }

    /// The program without its arguments, as an argument may be secret.
    pub(super) fn origin(&self) -> String {
        let program = self.argv.first().map_or("", String::as_str);
        format!("the command `{program}`")
    }

    fn start(&self) -> std::io::Result<Group> {
        let (program, arguments) = self
            .argv
            .split_first()
            .ok_or(std::io::ErrorKind::NotFound)?;
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Group::new(child))
    }
}

impl CredentialSource for CommandSource {
    async fn fetch(&self) -> Result<Fetched, CredentialsError> {
        let origin = self.origin();
        let failed =
            |why: String| CredentialsError::of(&origin, CredentialsProblem::Failed).explained(why);
        let mut group = self
            .start()
            .map_err(|error| failed(format!("it was not started: {}", error.kind())))?;
        let Some(mut stdout) = group.child.stdout.take() else {
            return Err(failed("it has no standard output".to_owned()));
        };
        let mut printed = Printed::default();
        let status = tokio::select! {
            biased;
            () = printed.read_all(&mut stdout) => {
                if printed.is_too_long() {
                    return Err(CredentialsError::of(&origin, CredentialsProblem::TooLong));
                }
                group.child.wait().await
            }
            status = group.child.wait() => {
                // A process that the program left behind may hold the output open; the program's own output is already
                // in the pipe.
                let _open = timeout(LEFTOVER, printed.read_all(&mut stdout)).await;
                status
            }
        };
        let status = status.map_err(|error| failed(error.kind().to_string()))?;
        if printed.is_too_long() {
            return Err(CredentialsError::of(&origin, CredentialsProblem::TooLong));
        }
        if !status.success() {
            return Err(failed(shown(status)));
        }
        let text = std::str::from_utf8(printed.bytes()).map_err(|_| {
            CredentialsError::of(&origin, CredentialsProblem::Malformed)
                .explained("it is not UTF-8")
        })?;
        format::read(text, &self.user, &origin)
    }
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it has exited with {code}"),
        (None, Some(signal)) => format!("signal {signal} has ended it"),
        (None, None) => "it has failed".to_owned(),
    }
}

/// The output of a program, in memory that never moves and is wiped.
struct Printed {
    buffer: Zeroizing<Vec<u8>>,
    length: usize,
}

impl Default for Printed {
    fn default() -> Self {
        Self {
            buffer: Zeroizing::new(vec![0; MOST + 1]),
            length: 0,
        }
    }
}

impl Printed {
    /// Reads until the output ends or is too long. Dropping the future loses nothing.
    async fn read_all(&mut self, stdout: &mut ChildStdout) {
        while !self.is_too_long()
            && let Ok(count @ 1..) = stdout.read(&mut self.buffer[self.length..]).await
        {
            self.length += count;
        }
    }

    fn is_too_long(&self) -> bool {
        self.length > MOST
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

/// A program and all processes that it started; dropping this kills them.
struct Group {
    child: Child,
    /// The id of the process and of its group. `Child` forgets it when the program ends.
    id: Option<Pid>,
}

impl Group {
    fn new(child: Child) -> Self {
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Self { child, id }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // The group may be empty already.
            let _gone = kill_process_group(id, Signal::KILL);
        }
    }
}

/// How long the source still reads output after the program has ended.
const LEFTOVER: Duration = Duration::from_millis(100);
