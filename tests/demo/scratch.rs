//! The folder for everything that does not outlive the demo.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{DemoError, Doing};
use crate::login::random_word;

/// Removed on drop, with all that is in it.
pub(crate) struct Scratch {
    path: PathBuf,
}

/// Replaces this process by the same demo with a scratch folder; returns only when that fails.
///
/// The servers' folders and what is kept between runs of the tests lie in `TMPDIR`, so with one of its
/// own the demo knows what to remove. A process cannot safely change its own environment.
pub(crate) fn begin_again_in_one() -> DemoError {
    let begin = || -> io::Result<io::Error> {
        let path = std::env::temp_dir().join(format!("ledger-demo-{}", random_word()?));
        // By this link and not by the path: a build may have replaced the file meanwhile.
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

    /// Makes it. The servers may run as another account, which has to pass through.
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
        // Nobody could do more about it than the system does with its temporary folder.
        let _ = fs::remove_dir_all(&self.path);
    }
}
