//! When the renewal acts by itself: only decisions, no input or output.

use std::time::Duration;

use tokio::time::Instant;

use crate::credentials::configured::RenewalRules;
use crate::credentials::fetch::Delivery;

/// When the renewal acts by itself.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// When the renewal asks the source again.
    pub(crate) due: Option<Instant>,
    /// From when on a login waits until the source has been asked.
    pub(crate) before_login: Option<Instant>,
    /// How many fetches have failed in a row.
    failed: u32,
    /// Until when denials are ignored, after one that new credentials could not cure.
    denials_from: Option<Instant>,
}

impl Schedule {
    /// Has the renewal ask the source before the first login.
    pub(crate) fn unasked() -> Self {
        let now = Some(Instant::now());
        Self {
            due: now,
            before_login: now,
            ..Self::default()
        }
    }

    /// Plans the next fetch after a delivery; `true` if the last fetch had failed.
    pub(crate) fn delivered(&mut self, delivery: &Delivery, rules: &RenewalRules) -> bool {
        let now = Instant::now();
        let due = delivery
            .life
            .map(|life| now + share(life, rules.refresh_before));
        self.due = due;
        self.before_login = match (rules.is_lazy, rules.is_watched) {
            (false, _) => delivery.secret.expires,
            (true, false) => due,
            // A look at a file is cheap.
            (true, true) => Some(due.map_or(now + rules.poll, |due| due.min(now + rules.poll))),
        };
        std::mem::take(&mut self.failed) > 0
    }

    /// Plans another fetch after a failed one, each time twice as late; `true` for the first failure of an episode.
    pub(crate) fn fetch_failed(&mut self, is_lazy: bool) -> bool {
        let doublings = self.failed.min(6);
        self.failed = self.failed.saturating_add(1);
        let full = FETCH_AGAIN * (1 << doublings);
        let again = Instant::now() + full.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.due = Some(again);
        // Logins go on with the current credentials.
        self.before_login = is_lazy.then_some(again);
        self.failed == 1
    }

    /// Notes that the source had nothing new after a denial.
    pub(crate) fn denial_was_ordinary(&mut self) {
        self.denials_from = Some(Instant::now() + ORDINARY);
    }

    /// Whether denials count as ordinary ones, which new credentials do not cure.
    pub(crate) fn denials_are_ordinary(&self) -> bool {
        self.denials_from.is_some_and(|from| Instant::now() < from)
    }
}

/// How long after its fetch a secret is renewed: `before` its end, but after half of its life and before four fifths. A
/// random part is taken off, as all instances may have fetched it at the same time.
fn share(life: Duration, before: Duration) -> Duration {
    let latest = life.mul_f64(0.8);
    let due = life.saturating_sub(before).clamp(life / 2, latest);
    due.mul_f64(0.95 + fastrand::f64() / 20.0)
}

/// How soon the renewal asks a source again after its first failure.
const FETCH_AGAIN: Duration = Duration::from_secs(1);

/// For how long denials count as ordinary after one for which the source had nothing new.
const ORDINARY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// A secret is renewed before its end, and not at once if its life is short.
    #[test]
    fn a_secret_is_renewed_between_half_and_four_fifths_of_its_life() {
        let seconds = Duration::from_secs;
        for (life, before, earliest, latest) in [
            (900, 60, 684, 720),
            (3_600, 900, 2_565, 2_700),
            (3, 60, 1, 2),
            (61, 60, 28, 31),
        ] {
            let due = share(seconds(life), seconds(before));
            assert!(
                due >= seconds(earliest) && due <= seconds(latest),
                "{life}: {due:?}"
            );
        }
    }
}
