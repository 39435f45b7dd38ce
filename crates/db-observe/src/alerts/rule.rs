//! Rules: when an alert starts and when it ends.

use std::fmt::Write;
use std::time::Duration;

use app_db::db_pool::plumbing::escaped;

use crate::alerts::alert::Level;
use crate::alerts::reading::Reading;

/// A rule over one number of a reading.
///
/// It fires once the number has been above `above` for as long as `lasting`, and is over once it has been at or below
/// `until` for as long as `over_for`. Between the two nothing changes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rule {
    /// Its name. A receiver recognizes the rule by it.
    pub name: &'static str,
    /// How urgent it is.
    pub level: Level,
    /// The number. `None` if there is none; that counts as healthy.
    pub number: fn(&Reading) -> Option<f64>,
    /// It fires above this.
    pub above: f64,
    /// It is over at this or below.
    pub until: f64,
    /// How long the number has to be above before it fires.
    pub lasting: Duration,
    /// How long the number has to be low before it is over.
    pub over_for: Duration,
    /// Says what is wrong, given the number.
    pub words: fn(f64) -> String,
}

impl Rule {
    /// The text of an alert: one line, and not too long for anybody's channel.
    pub(crate) fn message(&self, reading: &Reading, number: f64) -> String {
        let mut message = format!("pool `{}` {}", reading.pool, (self.words)(number));
        if let Some(diagnosis) = &reading.diagnosis {
            // Writing to a `String` does not fail.
            let _ = write!(message, " ({diagnosis})");
        }
        let mut line = escaped(&message);
        if line.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|end| line.is_char_boundary(*end));
            line.truncate(end.unwrap_or_default());
            line.push('…');
        }
        line
    }
}

/// How many bytes a message may have.
const LONGEST: usize = 3_000;

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn millis(seconds: f64) -> String {
    match seconds < 1_000.0 {
        true => format!("{:.0} ms", seconds * 1000.0),
        false => "more than 10 s".to_owned(),
    }
}

fn yes(is: bool) -> Option<f64> {
    Some(if is { 1.0 } else { 0.0 })
}

const NOW: Duration = Duration::ZERO;
const A_MINUTE: Duration = Duration::from_secs(60);
const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// The built-in rules.
pub static RULES: [Rule; 12] = [
    Rule {
        name: "PoolFull",
        level: Level::Critical,
        number: |reading| yes(reading.is_full),
        above: 0.5,
        until: 0.5,
        lasting: FIVE_MINUTES,
        over_for: FIVE_MINUTES,
        words: |_| "has had every connection in use for five minutes".to_owned(),
    },
    Rule {
        name: "ServerDown",
        level: Level::Critical,
        number: |reading| yes(reading.is_down),
        above: 0.5,
        until: 0.5,
        lasting: NOW,
        over_for: A_MINUTE,
        words: |_| "cannot connect to its server".to_owned(),
    },
    Rule {
        name: "WaitP99",
        level: Level::Critical,
        number: |reading| reading.wait_p99.map(|wait| wait.as_secs_f64()),
        above: 1.0,
        until: 0.5,
        lasting: A_MINUTE,
        over_for: FIVE_MINUTES,
        words: |wait| format!("lets 1 of 100 callers wait for {}", millis(wait)),
    },
    Rule {
        name: "ManyWaiting",
        level: Level::Critical,
        number: |reading| Some(f64::from(reading.waiting)),
        above: 10.0,
        until: 5.0,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |waiting| format!("has {waiting} callers waiting"),
    },
    Rule {
        name: "Waiting",
        level: Level::Warning,
        number: |reading| Some(f64::from(reading.waiting)),
        above: 5.0,
        until: 0.0,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |waiting| format!("has {waiting} callers waiting"),
    },
    Rule {
        name: "NoneIdle",
        level: Level::Warning,
        number: |reading| yes(reading.idle == 0 && reading.waiting > 0),
        above: 0.5,
        until: 0.5,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |_| "has no idle connection while callers wait".to_owned(),
    },
    Rule {
        name: "Utilisation",
        level: Level::Warning,
        number: |reading| Some(reading.utilisation),
        above: 0.9,
        until: 0.8,
        lasting: A_MINUTE,
        over_for: FIVE_MINUTES,
        words: |share| format!("has {} of its connections in use", percent(share)),
    },
    Rule {
        name: "ConnectErrors",
        level: Level::Warning,
        number: |reading| reading.connect_error_rate,
        above: 0.01,
        until: 0.001,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |share| format!("fails in {} of its attempts to connect", percent(share)),
    },
    Rule {
        name: "ConnectTime",
        level: Level::Warning,
        number: |reading| reading.connect_time.map(|time| time.as_secs_f64()),
        above: 0.5,
        until: 0.1,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |time| format!("takes {} to make a connection", millis(time)),
    },
    Rule {
        name: "ResponseTime",
        level: Level::Warning,
        number: |reading| reading.response_time.map(|time| time.as_secs_f64()),
        above: 0.5,
        until: 0.25,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |time| format!("has a server that takes {} for SELECT 1", millis(time)),
    },
    Rule {
        name: "ServerConnections",
        level: Level::Warning,
        number: |reading| reading.server_share,
        above: 0.8,
        until: 0.7,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |share| {
            let share = percent(share);
            format!("has a server with {share} of its connections taken")
        },
    },
    Rule {
        name: "Ports",
        level: Level::Warning,
        number: |reading| reading.ports_share,
        above: 0.8,
        until: 0.7,
        lasting: NOW,
        over_for: FIVE_MINUTES,
        words: |share| {
            let share = percent(share);
            format!("takes {share} of this machine's ports for sockets to its server")
        },
    },
];
