//! The keyring: the known secrets, which the pools and the renewal share.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use db_config::Endpoint;
use db_pool::plumbing::DrainRules;
use tokio::time::Instant;

use crate::credentials::fetch::Delivery;
use crate::credentials::known::{Candidate, Known, Rank};
use crate::credentials::secret::Secret;
use crate::credentials::source::CredentialsProblem;
use crate::credentials::status::{CredentialState, CredentialStatus};

/// The known secrets, and the counts of the renewal.
#[derive(Debug)]
pub(crate) struct Keyring {
    source: &'static str,
    drain: DrainRules,
    /// Whether the pools take the host from the secret; unset before the first delivery.
    follows: OnceLock<bool>,
    known: Mutex<Known>,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    state: CredentialState,
    fetched: Option<Instant>,
    fetches: u64,
    failed_fetches: u64,
    refusals: u64,
    last_problem: Option<CredentialsProblem>,
}

impl Keyring {
    pub(crate) fn new(source: &'static str, drain: DrainRules, known: Known) -> Self {
        Self {
            source,
            drain,
            follows: OnceLock::new(),
            known: Mutex::new(known),
            counts: Mutex::default(),
        }
    }

    pub(crate) fn follows(&self) -> bool {
        self.follows.get().is_some_and(|follows| *follows)
    }

    pub(crate) fn user(&self) -> String {
        let known = self.known();
        known.current.secret.credentials.user().to_owned()
    }

    /// Whether the source has delivered nothing yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts().fetched.is_none()
    }

    /// Takes in a delivery for pools that connect to `present`; `true` if its secret is new.
    pub(crate) fn delivered(&self, delivery: &Delivery, present: &Endpoint) -> bool {
        self.follows.get_or_init(|| {
            let follows = delivery.secret.is_for(present);
            if !follows {
                tracing::info!(target: "app_db::credentials",
                    source = self.source,
                    host = delivery.secret.host,
                    address = present.address(),
                    "the secret names another host than the URL; the pools go by the URL"
                );
            }
            follows
        });
        let mut counts = self.counts();
        (counts.fetched, counts.last_problem) = (Some(Instant::now()), None);
        counts.fetches += 1;
        drop(counts);
        let fallback = delivery.fallback.as_ref();
        self.known().delivered(&delivery.secret, fallback)
    }

    pub(crate) fn fetch_failed(&self, problem: CredentialsProblem) {
        let mut counts = self.counts();
        counts.failed_fetches += 1;
        counts.last_problem = Some(problem);
    }

    /// Every secret except the current one, the likeliest first.
    pub(crate) fn others(&self) -> Vec<Candidate> {
        self.known().others()
    }

    /// Only the secret that the source has delivered last: nothing suggests that the others work.
    pub(crate) fn newly_delivered(&self) -> Vec<Candidate> {
        let mut others = self.others();
        others.retain(|other| other.rank == Rank::Latest);
        others
    }

    /// Every secret that may be tried again now.
    ///
    /// `refused_at_login` says how often the server has refused the current secret when the pools logged in. Some of
    /// these logins may have ended only now.
    pub(crate) fn due(&self, refused_at_login: u32) -> Vec<Candidate> {
        let mut known = self.known();
        known.refused_at_login(refused_at_login, Instant::now());
        known.due(Instant::now())
    }

    /// Every secret that is worth trying when the service asks for a renewal; includes the current one if no login
    /// works.
    pub(crate) fn all(&self, is_stopped: bool) -> Vec<Candidate> {
        match is_stopped {
            true => {
                let known = self.known();
                let mut all = known.others();
                all.push(known.current.clone());
                all
            }
            false => self.newly_delivered(),
        }
    }

    /// The next time at which a secret may be tried again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.known().next()
    }

    pub(crate) fn is_current(&self, secret: &Secret) -> bool {
        self.known().is_current(secret)
    }

    /// Notes how often the server has refused the current secret when the pools logged in.
    pub(crate) fn refused_at_login(&self, times: u32) {
        self.known().refused_at_login(times, Instant::now());
    }

    /// Notes that the server has refused this secret to the renewal.
    pub(crate) fn refused(&self, secret: &Secret) {
        self.counts().refusals += 1;
        self.known().refused(secret, Instant::now());
    }

    pub(crate) fn untold(&self, secret: &Secret) {
        self.known().untold(secret, Instant::now());
    }

    pub(crate) fn rejected(&self, secret: &Secret) {
        self.known().rejected(secret);
    }

    pub(crate) fn works(&self) {
        self.known().works();
    }

    pub(crate) fn begin_with(&self, secret: Secret) {
        self.known().begin_with(secret);
    }

    pub(crate) fn published(&self, secret: Secret, rank: Rank) {
        self.known().published(secret, rank);
    }

    /// How fast connections leave that were made with the current secret. If it is a lease, they leave before it ends.
    pub(crate) fn drain(&self) -> DrainRules {
        let known = self.known();
        let lease = known.current.secret.expires;
        let lease = lease.filter(|_| known.current.secret.is_lease);
        let Some(end) = lease else {
            return self.drain;
        };
        let left = end.saturating_duration_since(Instant::now());
        let limit = left.mul_f64(0.8);
        DrainRules {
            spread: self.drain.spread.min(left / 2),
            limit: Some(self.drain.limit.map_or(limit, |own| own.min(limit))),
        }
    }

    pub(crate) fn is(&self, state: CredentialState) {
        self.counts().state = state;
    }

    pub(crate) fn status(&self, generation: u64) -> CredentialStatus {
        let (user, expires) = {
            let known = self.known();
            let secret = &known.current.secret;
            (secret.credentials.user().to_owned(), secret.expires)
        };
        let counts = *self.counts();
        let now = Instant::now();
        CredentialStatus {
            source: self.source,
            state: counts.state,
            user,
            generation,
            age: counts.fetched.map(|at| now.saturating_duration_since(at)),
            expires_in: expires.map(|at| at.saturating_duration_since(now)),
            fetches: counts.fetches,
            failed_fetches: counts.failed_fetches,
            refusals: counts.refusals,
            last_problem: counts.last_problem,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drain rules for connections whose role has lost its rights: idle connections leave at once, as nobody can use them.
pub(crate) fn at_once(rules: DrainRules) -> DrainRules {
    DrainRules {
        spread: Duration::ZERO,
        ..rules
    }
}
