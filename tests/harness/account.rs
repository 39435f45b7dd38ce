//! The account under which servers run: the tests' own, or an unprivileged one if the tests run as
//! root.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::HarnessError;
use crate::error::Doing;

/// PostgreSQL and PgBouncer refuse to run as root. Any other account runs them itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    switch: bool,
}

impl Account {
    pub(crate) fn of_servers() -> Result<Self, HarnessError> {
        let uid = rustix::process::geteuid();
        if !uid.is_root() {
            let gid = rustix::process::getegid().as_raw();
            return Ok(Self {
                uid: uid.as_raw(),
                gid,
                switch: false,
            });
        }
        let found = app_db_test::plumbing::unprivileged();
        found
            .doing(|| "reading /etc/passwd".to_owned())?
            .map(|(uid, gid)| Self {
                uid,
                gid,
                switch: true,
            })
            .ok_or(HarnessError::NoAccount)
    }

    pub(crate) fn uid(self) -> u32 {
        self.uid
    }

    /// A command that will run as this account, from `/`, without our PostgreSQL variables.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("HOME", "/").env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Runs a program to its end.
    pub(crate) fn run(self, command: &mut Command) -> Result<(), HarnessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command.output().doing(|| format!("running {program}"))?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        let output_text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(HarnessError::Program {
            program,
            status: output.status,
            output: output_text,
        })
    }

    /// Gives a file or folder to the account.
    pub(crate) fn own(self, path: &Path) -> io::Result<()> {
        if self.switch {
            chown(path, Some(self.uid), Some(self.gid))
        } else {
            Ok(())
        }
    }

    /// Whether the account can enter every folder above `path`.
    pub(crate) fn reaches(self, path: &Path) -> bool {
        !self.switch
            || path.ancestors().skip(1).all(|folder| {
                fs::metadata(folder).is_ok_and(|meta| {
                    meta.mode() & 0o001 != 0 || (meta.uid() == self.uid && meta.mode() & 0o100 != 0)
                })
            })
    }
}
