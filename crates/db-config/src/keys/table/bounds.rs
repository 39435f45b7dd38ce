//! The shortest and the longest duration that a key allows.

use std::time::Duration;

use crate::keys::key_kind::KeyKind;

pub(super) const fn duration(min: Duration, max: Duration, zero: Option<&'static str>) -> KeyKind {
    KeyKind::Duration { min, max, zero }
}

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const WEEK: Duration = Duration::from_secs(7 * 86_400);
pub(super) const MONTH: Duration = Duration::from_secs(30 * 86_400);
