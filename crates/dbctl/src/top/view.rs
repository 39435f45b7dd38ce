//! What `dbctl top` shows, on a screen or once as text.

use std::fmt::Write;

use app_db::db_pool::plumbing::escaped;
use db_observe::{HolderReport, PoolReport, StatementReport, StatusReport};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Wrap};

use crate::output;

/// The page as it was read last.
pub(crate) struct Shown {
    report: StatusReport,
    pub(crate) failure: Option<String>,
    pub(crate) is_paused: bool,
}

impl Shown {
    pub(crate) fn new(report: StatusReport) -> Self {
        Self {
            report,
            failure: None,
            is_paused: false,
        }
    }

    pub(crate) fn update(&mut self, report: StatusReport) {
        self.report = report;
        self.failure = None;
    }
}

/// Draws everything that fits: findings first, then pools, holders, statements.
pub(crate) fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let report = &shown.report;
    let findings = report.findings.len().clamp(1, 4) as u16 + 1;
    let pools = report.pools.len() as u16 + 2;
    let held = holders(report).count().min(8) as u16 + 2;
    let [top, found, pool_area, holder_area, statement_area, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(findings),
        Constraint::Length(pools),
        Constraint::Length(held),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(headline(shown)).bold(), top);
    let style = match report.healthy {
        true => Style::new().green(),
        false => Style::new().red(),
    };
    let lines: Vec<_> = report
        .findings
        .iter()
        .map(|finding| Line::from(escaped(finding)))
        .collect();
    let text = Paragraph::new(Text::from(lines))
        .style(style)
        .wrap(Wrap { trim: true });
    frame.render_widget(text, found);
    frame.render_widget(
        table(
            &POOL_COLUMNS,
            &POOL_WIDTHS,
            report.pools.iter().map(pool_cells),
        ),
        pool_area,
    );
    let rows = holders(report)
        .take(8)
        .map(|(pool, holder)| holder_cells(pool, holder));
    frame.render_widget(table(&HOLDER_COLUMNS, &HOLDER_WIDTHS, rows), holder_area);
    let rows = report.statements.iter().map(statement_cells);
    frame.render_widget(
        table(&STATEMENT_COLUMNS, &STATEMENT_WIDTHS, rows),
        statement_area,
    );
    frame.render_widget(Line::from("q quit   space pause").dim(), bottom);
}

/// The same as plain text.
pub(crate) fn text(report: &StatusReport) -> String {
    let mut text = format!("{}\n", report.at);
    for finding in &report.findings {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", escaped(finding));
    }
    let mut add = |header: &[&str], rows: Vec<Vec<String>>| {
        if rows.is_empty() {
            return;
        }
        let mut table = output::table(header);
        table.add_rows(rows);
        let _ = writeln!(text, "\n{}", table.trim_fmt());
    };
    add(&POOL_COLUMNS, report.pools.iter().map(pool_cells).collect());
    let rows = holders(report).map(|(pool, holder)| holder_cells(pool, holder));
    add(&HOLDER_COLUMNS, rows.collect());
    add(
        &STATEMENT_COLUMNS,
        report.statements.iter().map(statement_cells).collect(),
    );
    text
}

fn headline(shown: &Shown) -> String {
    let mut line = format!("dbctl top   {}", shown.report.at);
    if shown.is_paused {
        line.push_str("   paused");
    }
    if let Some(failure) = &shown.failure {
        let _ = write!(line, "   {}", escaped(failure));
    }
    line
}

fn table(
    header: &[&'static str],
    widths: &[Constraint],
    rows: impl Iterator<Item = Vec<String>>,
) -> Table<'static> {
    let header = Row::new(header.iter().map(|name| Cell::from(*name))).underlined();
    Table::new(rows.map(Row::new), widths.to_vec()).header(header)
}

fn pool_cells(pool: &PoolReport) -> Vec<String> {
    vec![
        escaped(&pool.pool),
        pool.in_use.to_string(),
        pool.idle.to_string(),
        pool.open.to_string(),
        pool.max.to_string(),
        pool.waiting.to_string(),
        format!("{:.1}", pool.wait_p99_ms),
        mean(pool.use_time.sum_seconds, pool.use_time.count),
        pool.breaker.clone(),
        pool.generation.to_string(),
    ]
}

fn holder_cells(pool: &str, holder: &HolderReport) -> Vec<String> {
    vec![
        escaped(pool),
        format!("{:.0}", holder.held_ms),
        holder.transaction.clone(),
        escaped(&holder.call_site),
        escaped(holder.statement.as_deref().unwrap_or("-")),
    ]
}

fn statement_cells(statement: &StatementReport) -> Vec<String> {
    vec![
        escaped(&statement.pool),
        format!("{:.0}", statement.total_ms),
        statement.count.to_string(),
        format!("{:.1}", statement.mean_ms),
        format!("{:.1}", statement.p99_ms),
        statement.errors.to_string(),
        escaped(&statement.text),
    ]
}

fn holders(report: &StatusReport) -> impl Iterator<Item = (&str, &HolderReport)> {
    report.pools.iter().flat_map(|pool| {
        pool.holders
            .iter()
            .map(|holder| (pool.pool.as_str(), holder))
    })
}

fn mean(sum_seconds: f64, count: u64) -> String {
    match count {
        0 => "-".to_owned(),
        count => format!("{:.1}", sum_seconds * 1e3 / count as f64),
    }
}

const POOL_COLUMNS: [&str; 10] = [
    "pool", "used", "idle", "open", "max", "waiting", "p99 ms", "hold ms", "breaker", "gen",
];
const POOL_WIDTHS: [Constraint; 10] = [
    Constraint::Min(8),
    Constraint::Length(5),
    Constraint::Length(5),
    Constraint::Length(5),
    Constraint::Length(5),
    Constraint::Length(7),
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(9),
    Constraint::Length(4),
];
const HOLDER_COLUMNS: [&str; 5] = ["pool", "held ms", "transaction", "by", "statement"];
const HOLDER_WIDTHS: [Constraint; 5] = [
    Constraint::Length(8),
    Constraint::Length(8),
    Constraint::Length(11),
    Constraint::Length(24),
    Constraint::Min(10),
];
const STATEMENT_COLUMNS: [&str; 7] = [
    "pool",
    "total ms",
    "runs",
    "mean",
    "p99",
    "errors",
    "statement",
];
const STATEMENT_WIDTHS: [Constraint; 7] = [
    Constraint::Length(8),
    Constraint::Length(9),
    Constraint::Length(8),
    Constraint::Length(7),
    Constraint::Length(7),
    Constraint::Length(6),
    Constraint::Min(10),
];

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn report() -> StatusReport {
        let json = serde_json::json!({
            "schema": 1,
            "at": "2026-08-01T12:00:00.000Z",
            "healthy": false,
            "findings": ["Pool `write`: \u{1b}[31mit leaks."],
            "pools": [{"pool": "write", "in_use": 3, "max": 10, "breaker": "closed"}],
            "statements": [{"pool": "write", "text": "select ?", "count": 7}]
        });
        serde_json::from_value(json).unwrap()
    }

    fn screen(width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let shown = Shown::new(report());
        terminal.draw(|frame| draw(frame, &shown)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_shown_on_80_by_24() {
        let screen = screen(80, 24);
        for wanted in [
            "it leaks",
            "write",
            "select ?",
            "q quit",
            "waiting",
            "\\u{1b}[31m",
        ] {
            assert!(screen.contains(wanted), "{wanted} in\n{screen}");
        }
        assert!(!screen.contains('\u{1b}'));
    }

    /// Drawing fails on neither a small screen nor a large one.
    #[test]
    fn any_size_can_be_drawn() {
        for (width, height) in [(1, 1), (20, 5), (80, 3), (300, 100)] {
            screen(width, height);
        }
    }

    #[test]
    fn text_has_the_same() {
        let text = text(&report());
        assert!(
            text.contains("it leaks") && text.contains("select ?"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }
}
