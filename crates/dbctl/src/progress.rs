//! The line at the bottom of a terminal that says which statement runs, and for how long.

use std::io::{self, Write};
use std::time::Duration;

use app_db::MigrationEvent;
use indicatif::ProgressBar;

/// Shows what runs. If standard error is no terminal, it shows nothing.
///
/// The log is written through it, so that the two do not share a line.
#[derive(Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        Self(ProgressBar::new_spinner())
    }

    /// Shows the statement that runs now.
    pub(crate) fn show(&self, event: &MigrationEvent) {
        match event {
            MigrationEvent::Started { version, name, .. } => {
                self.0.set_message(format!("{version}_{name}"));
                self.0.enable_steady_tick(TICK);
            }
            MigrationEvent::Statement {
                version,
                statement,
                of,
                line,
                ..
            } => {
                self.0.set_message(format!(
                    "{version}: statement {statement} of {of}, line {line}"
                ));
            }
            MigrationEvent::Waiting { on, .. } => {
                let on = on.as_deref().unwrap_or("a lock");
                self.0.set_message(format!("waiting for {on}"));
            }
            MigrationEvent::Building { phase, .. } => self.0.set_message(phase.clone()),
            _ => {}
        }
    }

    /// Removes the line.
    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Write for Progress {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(text))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

const TICK: Duration = Duration::from_millis(120);
