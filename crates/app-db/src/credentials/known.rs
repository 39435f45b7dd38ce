//! The known secrets, and when each may be tried: only decisions, no input or output.

use std::time::Duration;

use tokio::time::Instant;

use crate::credentials::secret::Secret;

/// The secrets that the server may accept.
#[derive(Debug)]
pub(crate) struct Known {
    /// The secret that the pools use.
    pub(crate) current: Candidate,
    /// The others, the likeliest first: the latest from the source, its fallback, and the one that the pools used
    /// before.
    others: Vec<Candidate>,
    /// How often the server has refused the current secret when the pools logged in.
    at_login: u32,
    attempts: u32,
}

/// One secret, and how the server has answered it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) secret: Secret,
    pub(crate) rank: Rank,
    /// How often the server has refused it since it was delivered or last worked.
    refused: u32,
    /// When it may be tried again; `None` if no attempt is planned.
    again: Option<Instant>,
    /// Whether the log already says that it does not work.
    is_told: bool,
}

/// The rank of a secret among the others; the likeliest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// The source's latest secret.
    Latest,
    /// The fallback that the source named beside its latest secret.
    Fallback,
    /// The secret that the pools used before.
    Former,
}

impl Candidate {
    fn new(secret: Secret, rank: Rank) -> Self {
        Self {
            secret,
            rank,
            refused: 0,
            again: None,
            is_told: false,
        }
    }

    /// Whether the log does not say yet that it does not work.
    pub(crate) fn is_untold(&self) -> bool {
        !self.is_told
    }
}

impl Known {
    pub(crate) fn new(current: Secret, attempts: u32) -> Self {
        Self {
            current: Candidate::new(current, Rank::Latest),
            others: Vec::new(),
            at_login: 0,
            attempts,
        }
    }

    /// Takes in a delivery; `true` if its first secret is new.
    pub(crate) fn delivered(&mut self, secret: &Secret, fallback: Option<&Secret>) -> bool {
        let is_fallback = |other: &Candidate| fallback.is_some_and(|it| it.is(&other.secret));
        self.others
            .retain(|other| other.rank != Rank::Fallback || is_fallback(other));
        // A fallback that is delivered again keeps its count of refusals.
        let mut known = self.others.iter();
        let is_known = known.any(|other| other.rank == Rank::Fallback);
        if let Some(fallback) = fallback.filter(|fallback| !fallback.is(&self.current.secret))
            && !is_known
        {
            self.insert(Candidate::new(fallback.clone(), Rank::Fallback));
        }
        if secret.is(&self.current.secret) {
            // A renewed lease has a new end.
            self.current.secret.expires = secret.expires;
            self.current.rank = Rank::Latest;
            self.others.retain(|other| other.rank != Rank::Latest);
            return false;
        }
        let known = self.others.iter_mut();
        let mut latest = known.filter(|other| other.rank == Rank::Latest);
        if let Some(known) = latest.find(|other| other.secret.is(secret)) {
            known.secret.expires = secret.expires;
            return false;
        }
        self.others.retain(|other| other.rank != Rank::Latest);
        self.insert(Candidate::new(secret.clone(), Rank::Latest));
        true
    }

    /// Replaces the URL's secret with this one.
    pub(crate) fn begin_with(&mut self, secret: Secret) {
        self.others.retain(|other| !other.secret.is(&secret));
        self.current = Candidate::new(secret, Rank::Latest);
    }

    /// The others, the likeliest first.
    pub(crate) fn others(&self) -> Vec<Candidate> {
        self.others.clone()
    }

    /// Every secret whose next attempt is due: the others, and the current one if the server has refused it.
    pub(crate) fn due(&self, now: Instant) -> Vec<Candidate> {
        let all = self.others.iter().chain([&self.current]);
        all.filter(|one| one.again.is_some_and(|again| again <= now))
            .cloned()
            .collect()
    }

    /// When the next attempt is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let all = self.others.iter().chain([&self.current]);
        all.filter_map(|one| one.again).min()
    }

    pub(crate) fn is_current(&self, secret: &Secret) -> bool {
        secret.is(&self.current.secret)
    }

    /// Notes that the server has refused this secret once more.
    pub(crate) fn refused(&mut self, secret: &Secret, now: Instant) {
        let at_login = match self.is_current(secret) {
            true => self.at_login,
            false => 0,
        };
        let attempts = self.attempts;
        if let Some(one) = self.find(secret) {
            one.is_told = true;
            one.refused = one.refused.saturating_add(1);
            one.again = Some(now + delay(one.refused + at_login, attempts));
        }
    }

    /// Notes how often the server has refused the current secret, since it last worked, when the pools logged in.
    pub(crate) fn refused_at_login(&mut self, times: u32, now: Instant) {
        if times > self.at_login {
            self.at_login = times;
            let refused = self.current.refused + times;
            self.current.again = Some(now + delay(refused, self.attempts));
        }
    }

    /// Notes that nothing was learned about this secret, for example because the server was not reached.
    pub(crate) fn untold(&mut self, secret: &Secret, now: Instant) {
        if let Some(one) = self.find(secret) {
            one.is_told = true;
            one.again = Some(now + UNREACHED);
        }
    }

    /// Notes that this secret leads to another cluster, so that it is not tried again.
    pub(crate) fn rejected(&mut self, secret: &Secret) {
        if let Some(one) = self.find(secret) {
            one.is_told = true;
            one.again = None;
        }
    }

    /// Notes that the current secret works.
    pub(crate) fn works(&mut self) {
        (self.current.refused, self.current.again) = (0, None);
        self.at_login = 0;
        self.rest();
    }

    /// Puts the fallback and the former secret in reserve: they are tried only after the server refuses the current
    /// one.
    fn rest(&mut self) {
        for other in &mut self.others {
            if other.rank != Rank::Latest {
                (other.refused, other.again, other.is_told) = (0, None, false);
            }
        }
    }

    /// Notes that this secret has replaced the current one.
    pub(crate) fn published(&mut self, secret: Secret, rank: Rank) {
        let mut before = std::mem::replace(&mut self.current, Candidate::new(secret, rank));
        before.refused += std::mem::take(&mut self.at_login);
        let current = self.current.secret.clone();
        self.others.retain(|other| !other.secret.is(&current));
        self.rest();
        if before.secret.is(&current) {
            return;
        }
        if rank != Rank::Latest && before.rank == Rank::Latest {
            // The source still delivers it, and it may work again.
            before.is_told = true;
            return self.insert(before);
        }
        self.others.retain(|other| other.rank != Rank::Former);
        (before.rank, before.again, before.refused) = (Rank::Former, None, 0);
        self.insert(before);
    }

    fn insert(&mut self, candidate: Candidate) {
        self.others
            .retain(|other| !other.secret.is(&candidate.secret));
        self.others.push(candidate);
        self.others.sort_by_key(|other| other.rank);
    }

    fn find(&mut self, secret: &Secret) -> Option<&mut Candidate> {
        let mut all = self.others.iter_mut().chain([&mut self.current]);
        all.find(|one| one.secret.is(secret))
    }
}

/// Doubles after each refusal, and becomes long after `attempts` refusals, as the server may lock the user out.
fn delay(refused: u32, attempts: u32) -> Duration {
    if refused >= attempts {
        return LONG;
    }
    let doublings = refused.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LONG)
}

const FIRST: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(300);
const UNREACHED: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use db_config::Credentials;

    use super::*;

    fn secret(password: &str) -> Secret {
        Secret::new(Credentials::new("app", password))
    }

    fn passwords(known: &Known) -> Vec<Rank> {
        known.others().iter().map(|other| other.rank).collect()
    }

    /// A refused secret is tried after one second, two, four, and then every five minutes.
    #[tokio::test(start_paused = true)]
    async fn a_secret_is_tried_less_and_less_often() {
        let mut known = Known::new(secret("old"), 4);
        assert!(known.delivered(&secret("new"), None));
        let mut delays = Vec::new();
        for _ in 0..6 {
            let now = Instant::now();
            known.refused(&secret("new"), now);
            delays.push((known.next().unwrap() - now).as_secs());
        }
        assert_eq!(delays, [1, 2, 4, 300, 300, 300]);
        // A secret that is delivered again is not new; a new one starts with no refusals.
        assert!(!known.delivered(&secret("new"), None));
        assert!(known.delivered(&secret("newer"), None));
        assert_eq!((known.next(), known.others().len()), (None, 1));
    }

    /// A fallback comes again with each delivery, and is not tried more often for that.
    #[tokio::test(start_paused = true)]
    async fn a_fallback_that_is_delivered_again_keeps_its_count() {
        let mut known = Known::new(secret("in place"), 2);
        let now = Instant::now();
        for _ in 0..2 {
            known.delivered(&secret("in place"), Some(&secret("by")));
            known.refused(&secret("by"), now);
        }
        assert_eq!(known.next(), Some(now + LONG));
        // Another fallback starts with no refusals.
        known.delivered(&secret("in place"), Some(&secret("other")));
        assert_eq!((known.next(), known.others().len()), (None, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_former_one_is_kept_and_the_refused_one_stays_the_latest() {
        let mut known = Known::new(secret("one"), 3);
        known.delivered(&secret("two"), Some(&secret("next")));
        assert_eq!(passwords(&known), [Rank::Latest, Rank::Fallback]);
        known.published(secret("two"), Rank::Latest);
        assert_eq!(passwords(&known), [Rank::Fallback, Rank::Former]);
        let now = Instant::now();
        known.refused_at_login(3, now);
        known.published(secret("one"), Rank::Former);
        assert!(known.is_current(&secret("one")));
        assert_eq!(passwords(&known), [Rank::Latest, Rank::Fallback]);
        // The fallback is tried again, but late.
        assert_eq!(known.next(), Some(now + LONG));
        assert!(!known.delivered(&secret("two"), None));
        known.published(secret("three"), Rank::Latest);
        assert_eq!(passwords(&known), [Rank::Latest, Rank::Former]);
    }
}
