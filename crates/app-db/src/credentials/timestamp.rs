//! The expiry time of a secret in JSON.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// Reads a point in time: `"2026-08-01T12:00:00Z"`, with another offset than `Z`, or seconds since 1970.
pub(super) fn read(value: &Value) -> Option<SystemTime> {
    if let Value::String(text) = value {
        return read_text(text);
    }
    let since = Duration::try_from_secs_f64(value.as_f64()?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

fn read_text(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    if let Ok(at) = humantime::parse_rfc3339_weak(text) {
        return Some(at);
    }
    // `+02:00`, `-0530`
    let sign = text.rfind(['+', '-'])?;
    let (local, offset) = text.split_at_checked(sign)?;
    let digits: String = offset[1..].chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (u64, u64) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    let offset_by = Duration::from_secs(hours * 3_600 + minutes * 60);
    let at = humantime::parse_rfc3339_weak(local.trim_end()).ok()?;
    match offset.starts_with('+') {
        true => at.checked_sub(offset_by),
        false => at.checked_add(offset_by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_have_any_offset() {
        let at = |value: Value| {
            read(&value).map(|at| at.duration_since(SystemTime::UNIX_EPOCH).unwrap())
        };
        let expected = Some(Duration::from_secs(1_785_585_600));
        assert_eq!(at(Value::from(1_785_585_600)), expected);
        assert_eq!(at(Value::from(-1)), None);
        for text in [
            "2026-08-01T12:00:00Z",
            "2026-08-01T12:00:00.000Z",
            "2026-08-01T14:00:00+02:00",
            "2026-08-01T06:30:00-0530",
            " 2026-08-01T12:00:00+00:00 ",
        ] {
            assert_eq!(at(text.into()), expected, "{text}");
        }
        for text in [
            "",
            "soon",
            "12:00",
            "2026-08-01T12:00:00+2",
            "2026-13-01T00:00:00Z",
        ] {
            assert_eq!(at(text.into()), None, "{text}");
        }
    }
}
