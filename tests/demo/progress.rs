//! What the user reads while the demo runs, on standard error.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::load::Counts;

/// Lines of progress; on a terminal the counts keep to one line.
pub(crate) struct Progress {
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
        }
    }

    pub(crate) fn say(&self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Shows the counts once a second, until it is dropped.
    pub(crate) async fn show(&self, counts: &Counts, start: Instant, seconds: u64) -> Infallible {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let line = format!(
                "{:>4}/{seconds} s  {:>7} transfers {:>7} reads {:>3} errors",
                start.elapsed().as_secs().min(seconds),
                counts.transfers(),
                counts.reads(),
                counts.errors(),
            );
            self.write(&if self.terminal { line } else { line + "\n" });
        }
    }

    /// Ends the line of the counts.
    pub(crate) fn end_line(&self) {
        if self.terminal {
            self.write("");
        }
    }

    fn write(&self, text: &str) {
        let over_counts = if self.terminal { "\r\x1b[K" } else { "" };
        // The run goes on even if nobody can read this.
        let _ = write!(io::stderr(), "{over_counts}{text}");
    }
}
