//! The two output streams: data on standard output, everything else on standard error.

use std::fmt;
use std::io::{ErrorKind, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;

/// Writes data. It is no failure if the reader has left (`dbctl .. | head`).
pub(crate) fn data(text: impl fmt::Display) -> Result<(), CommandFailure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes data as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), CommandFailure> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| CommandFailure::new(Exit::Failed, e))?;
    data(text)
}

/// Writes to standard error. If that is closed, nobody reads it, and that is no failure.
pub(crate) fn progress(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A table without borders and colours, so that `grep` and `awk` can read it.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}
