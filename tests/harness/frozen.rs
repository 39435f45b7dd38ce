//! Servers that stop answering without dying.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::{Cluster, HarnessError};

/// Processes stopped by SIGSTOP; they go on when this is dropped.
#[derive(Debug)]
#[must_use = "the processes go on when this is dropped"]
pub struct Frozen {
    pids: Vec<i32>,
}

impl Cluster {
    /// The main process's id, while it runs.
    pub fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.data().join("postmaster.pid"))
            .ok()?
            .lines()
            .next()?
            .parse()
            .ok()
    }

    /// Stops the main process: old sessions go on, new connections are accepted and hang.
    pub fn freeze_postmaster(&self) -> Result<Frozen, HarnessError> {
        self.own("freeze it")?;
        Ok(Frozen::stop(self.pid().into_iter().collect()))
    }

    /// Stops the main process and all others: nothing answers, the kernel still acknowledges.
    pub fn freeze(&self) -> Result<Frozen, HarnessError> {
        self.own("freeze it")?;
        let Some(main) = self.pid() else {
            return Ok(Frozen::stop(Vec::new()));
        };
        // The main process first: one that still runs could fork a backend that nobody stops.
        let mut frozen = Frozen::stop(vec![main]);
        let mut others = Frozen::stop(children(main));
        frozen.pids.append(&mut others.pids);
        Ok(frozen)
    }

    /// Stops one backend, by its `pg_backend_pid()`.
    pub fn freeze_backend(&self, pid: i32) -> Frozen {
        Frozen::stop(vec![pid])
    }

    /// Kills one backend, by its `pg_backend_pid()`: all sessions end and the server recovers.
    pub fn kill_backend(&self, pid: i32) -> Result<(), HarnessError> {
        self.own("kill a backend")?;
        signal(pid, Signal::KILL);
        Ok(())
    }
}

impl Frozen {
    fn stop(pids: Vec<i32>) -> Self {
        pids.iter().for_each(|&pid| signal(pid, Signal::STOP));
        // A process on another core runs until the kernel has told it.
        while pids.iter().any(|&pid| runs(pid)) {
            std::thread::yield_now();
        }
        Self { pids }
    }

    /// Lets the processes go on.
    pub fn thaw(self) {}
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.pids.iter().for_each(|&pid| signal(pid, Signal::CONT));
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // A process that has ended meanwhile needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// Whether the process runs, so is neither stopped nor ended.
fn runs(pid: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = status
        .rsplit_once(") ")
        .and_then(|(_, fields)| fields.chars().next());
    !matches!(state, Some('T' | 't' | 'Z' | 'X') | None)
}

fn children(parent: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("stat")).ok()?;
            // "pid (name) state ppid ..", and a name may contain parentheses.
            let (_, fields) = status.rsplit_once(") ")?;
            let found: i32 = fields.split(' ').nth(1)?.parse().ok()?;
            (found == parent).then_some(pid)
        })
        .collect()
}
