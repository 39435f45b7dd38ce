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

/// A program without a shell, standard input and most of the environment.
///
/// What it writes to standard error is lost, as it may quote the secret. It is killed together with what it has
/// started: when it has taken too long, when it has printed too much, and when it has ended.
#[derive(Debug)]
pub(super) struct CommandSource {
    argv: Vec<String>,
    environment: CommandEnvironment,
    /// The user of a secret that names none.
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

    /// The program alone: an argument may be anything.
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
                // What it left behind may hold its output open; what it has printed itself is there by now.
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

/// What a program has printed, in memory that never moves and is wiped.
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
    /// Reads until the end, or until it is too much. Dropping the future loses nothing.
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

/// A program with all that it has started; killed when this is dropped.
struct Group {
    child: Child,
    /// The number of the program and of its group, which the child forgets once it has ended.
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
            // There may be nobody left in it.
            let _gone = kill_process_group(id, Signal::KILL);
        }
    }
}

/// How long what a program has printed may still take to arrive after its end.
const LEFTOVER: Duration = Duration::from_millis(100);
