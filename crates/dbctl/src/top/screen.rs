//! The screen of `dbctl top`. It takes over the terminal while it lives, and restores it when it is
//! dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use db_observe::StatusReport;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use crate::command_failure::CommandFailure;
use crate::top::status_page::StatusPage;
use crate::top::view::{Shown, draw};

pub(crate) struct Screen {
    terminal: DefaultTerminal,
    events: mpsc::UnboundedReceiver<Event>,
    closed: Arc<AtomicBool>,
}

impl Screen {
    pub(crate) fn open() -> Result<Self, CommandFailure> {
        let terminal = ratatui::try_init()?;
        let closed = Arc::new(AtomicBool::new(false));
        let (sender, events) = mpsc::unbounded_channel();
        let is_closed = Arc::clone(&closed);
        // Reading the terminal blocks; the thread ends with the screen.
        std::thread::spawn(move || {
            while !is_closed.load(Ordering::Acquire) {
                match event::poll(A_MOMENT) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(_) => return,
                }
                let Ok(event) = event::read() else {
                    return;
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            terminal,
            events,
            closed,
        })
    }

    /// Shows what the page says until q or Ctrl-C.
    pub(crate) async fn run(
        mut self,
        first: StatusReport,
        page: &StatusPage,
        every: Duration,
    ) -> Result<(), CommandFailure> {
        let mut shown = Shown::new(first);
        let mut ticks = tokio::time::interval(every.max(A_MOMENT));
        loop {
            self.terminal.draw(|frame| draw(frame, &shown))?;
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) if ends(&event) => return Ok(()),
                    Some(event) if pauses(&event) => shown.is_paused = !shown.is_paused,
                    // The next drawing has the new size.
                    Some(_) => {}
                    None => return Ok(()),
                },
                _tick = ticks.tick(), if !shown.is_paused => match page.read().await {
                    Ok(report) => shown.update(report),
                    Err(failure) => shown.failure = Some(failure.to_string()),
                },
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        ratatui::restore();
    }
}

fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else {
        return false;
    };
    let is_interrupt =
        key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && (is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

fn pauses(event: &Event) -> bool {
    matches!(event, Event::Key(key) if key.kind == KeyEventKind::Press && key.code == KeyCode::Char(' '))
}

const A_MOMENT: Duration = Duration::from_millis(100);
