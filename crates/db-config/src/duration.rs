//! Reads durations as people write them: `"500ms"`, `"5s"`, `"1h 30min"`.
//!
//! The modules are made for `#[serde(with = ..)]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads a duration from text such as `"500ms"`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom(EXPECTED))
}

/// For a duration that can be switched off. `"0s"` becomes `None`.
///
/// A field that may also be absent needs `#[serde(default, with = "db_config::duration::optional")]`.
pub mod optional {
    use super::{Deserializer, Duration};

    /// Reads a duration. Zero becomes `None`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let duration = super::deserialize(deserializer)?;
        Ok((!duration.is_zero()).then_some(duration))
    }
}

/// Reads a duration. A number needs a unit.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim())
        .ok()
        .filter(|_| text.trim() != "0")
}

pub(crate) const EXPECTED: &str = "a duration such as \"500ms\" or \"5s\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(with = "crate::duration")]
        wait: Duration,
        #[serde(default, with = "crate::duration::optional")]
        idle: Option<Duration>,
        #[serde(default, with = "crate::duration::optional")]
        life: Option<Duration>,
    }

    #[test]
    fn zero_switches_an_optional_duration_off_and_absence_does_too() {
        let sample: Sample = toml::from_str("wait = \"500ms\"\nidle = \"0s\"").unwrap();
        assert_eq!(sample.wait, Duration::from_millis(500));
        assert_eq!((sample.idle, sample.life), (None, None));
        let sample: Sample = toml::from_str("wait = \"1m 30s\"\nlife = \"1h\"").unwrap();
        assert_eq!(sample.wait, Duration::from_secs(90));
        assert_eq!(sample.life, Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a_number_without_unit_is_no_duration() {
        for text in [
            "5",
            "0",
            "",
            "s",
            "-1s",
            "5 parsecs",
            "99999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
