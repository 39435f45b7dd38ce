//! One piece of advice.

use std::fmt;

use serde::Serialize;

/// One piece of advice, for one endpoint or for all endpoints of one server.
#[derive(Serialize)]
pub(super) struct Advice {
    pub(super) level: Level,
    endpoint: String,
    message: String,
}

/// Whether something is wrong, or only worth knowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Problem,
    Note,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Problem => "problem",
            Level::Note => "note",
        };
        write!(f, "{level}: {}: {}", self.endpoint, self.message)
    }
}

pub(super) fn problem(endpoint: &str, message: impl fmt::Display) -> Advice {
    advice(Level::Problem, endpoint, &message)
}

pub(super) fn note(endpoint: &str, message: impl fmt::Display) -> Advice {
    advice(Level::Note, endpoint, &message)
}

fn advice(level: Level, endpoint: &str, message: &dyn fmt::Display) -> Advice {
    Advice {
        level,
        endpoint: endpoint.to_owned(),
        message: message.to_string(),
    }
}
