//! The folder for everything that does not outlive the demo.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{DemoError, Doing};
use crate::login::random_word;

/// Removed on drop, with everything in it.
pub(crate) struct Scratch {
    path: PathBuf,
}

/// Replaces this process with the same demo with a scratch folder. Returns only if that fails.
///
/// The servers' folders, and files that tests keep between runs, are in `TMPDIR`. With a `TMPDIR` of
/// its own, the demo knows what to remove. A process cannot safely change its own environment.
pub(crate) fn begin_again_in_one() -> DemoError {
    let begin = || -> io::Result<io::Error> {
        let path = std::env::temp_dir().join(format!("ledger-demo-{}", random_word()?));
        // It uses this link and not the path, because a build may have replaced the file meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .arg("--scratch")
            .arg(&path)
            .env("TMPDIR", &path);
        Ok(command.exec())
    };
    let source = begin().unwrap_or_else(|error| error);
    DemoError::Io {
        doing: "starting the demo".to_owned(),
        source,
    }
}

impl Scratch {
    /// A folder that does not exist yet.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Creates it. The servers may run as another account, which must be able to enter it.
    pub(crate) fn create(&self) -> Result<(), DemoError> {
        let made = DirBuilder::new().mode(0o711).create(&self.path);
        made.doing(|| format!("making {}", self.path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If this fails, only the system's cleaning of its temporary folder can help.
        let _ = fs::remove_dir_all(&self.path);
    }
}
