//! The page as a browser shows it.

use askama::Template;

use crate::report::{PoolReport, StatusReport};

/// The page; the template escapes every value.
#[derive(Template)]
#[template(path = "status.html")]
pub(crate) struct StatusPage<'r> {
    report: &'r StatusReport,
    /// The prefix of the links to the other paths, so that they work behind any prefix and proxy.
    base: String,
}

impl<'r> StatusPage<'r> {
    pub(crate) fn new(report: &'r StatusReport, path: &str) -> Self {
        let last = path.rsplit('/').next().unwrap_or_default();
        let base = match last {
            "" | "index.html" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self { report, base }
    }
}

/// A number that may not be there.
fn or_dash(number: &Option<f64>) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.1}"))
}

fn percent(share: &f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn whole(number: &Option<u32>) -> String {
    number.map_or_else(|| "–".to_owned(), |number| number.to_string())
}

fn one(number: &f64) -> String {
    format!("{number:.1}")
}

/// With two digits after the point, if they matter.
fn as_short(number: &f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn megabytes(bytes: &u64) -> String {
    format!("{:.1} MB", *bytes as f64 / 1e6)
}

fn mean_hold(pool: &PoolReport) -> String {
    match pool.use_time.count {
        0 => "–".to_owned(),
        count => format!("{:.1} ms", pool.use_time.sum_seconds * 1e3 / count as f64),
    }
}

fn idle_bounds(pool: &PoolReport) -> String {
    match pool.max_idle {
        Some(most) => format!("{} to {most}", pool.min_idle),
        None => format!("{} or more", pool.min_idle),
    }
}

fn word(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("–")
}
