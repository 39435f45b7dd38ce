//! Logins: decides whether pools may try their shared credentials now, and tells the owner of the credentials about
//! refusals.
//!
//! The owner fetches and replaces the credentials. A pool asks for a permit before each login. The first refusal
//! stops all logins, so that the pools do not try wrong credentials once for each missing connection. From then on
//! only the owner tries, until it reports that logins work again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::changes::Changes;
use crate::connect::connect_error::ConnectError;

/// The logins of all pools that share one set of credentials.
#[derive(Debug)]
pub struct Logins {
    /// How many logins may be refused with one set of credentials, and so how many may be in flight.
    attempts: u32,
    state: Mutex<State>,
    /// Wakes the owner for a request.
    asked: Notify,
    /// Wakes logins that wait for a renewal when it is over.
    renewed: Notify,
}

#[derive(Debug)]
struct State {
    verdict: Verdict,
    in_flight: u32,
    /// How often the server has refused the present credentials since they last worked.
    refused: u32,
    /// What the server said last.
    why: Option<ConnectError>,
    /// The number of the present credentials: a login that began with earlier ones says nothing about them.
    version: u64,
    /// Until then the credentials count as freshly proved, and a cold pool may open as many connections as it
    /// wants.
    fresh_until: Instant,
    /// From then on a login waits until the owner has renewed the credentials.
    due: Option<Instant>,
    wanted: Wanted,
    /// The pools whose callers wait for a permit.
    pools: Vec<Weak<Changes>>,
}

/// What is known about the present credentials.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// Nothing shows that they do not work.
    Working,
    /// The server has refused them, and the owner has not looked into it yet.
    Asking,
    /// The server refuses all credentials that the owner has.
    Refused,
}

/// What the owner has to look into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "app-db takes it apart")]
pub struct Wanted {
    /// The server has refused the present credentials.
    pub refusal: bool,
    /// The server denied something to a session (42501). Its role may have been revoked.
    pub denial: bool,
    /// A login waits for credentials that are due to be renewed.
    pub renewal: bool,
}

impl Wanted {
    fn is_anything(self) -> bool {
        self != Self::default()
    }
}

impl Logins {
    /// Logins that allow at most this many refusals of the same credentials.
    #[must_use]
    pub fn new(attempts: u32) -> Arc<Self> {
        Arc::new(Self {
            attempts: attempts.max(1),
            state: Mutex::new(State {
                verdict: Verdict::Working,
                in_flight: 0,
                refused: 0,
                why: None,
                version: 0,
                fresh_until: Instant::now() + FRESH,
                due: None,
                wanted: Wanted::default(),
                pools: Vec::new(),
            }),
            asked: Notify::new(),
            renewed: Notify::new(),
        })
    }

    /// Resolves when the owner has something to look into. Dropping the future loses nothing.
    pub async fn asked(&self) -> Wanted {
        loop {
            let asked = self.asked.notified();
            let wanted = std::mem::take(&mut self.lock().wanted);
            if wanted.is_anything() {
                return wanted;
            }
            asked.await;
        }
    }

    /// Notes that the present credentials work: the server has accepted a login of the owner.
    pub fn work(&self) {
        self.change(|state| {
            state.verdict = Verdict::Working;
            state.refused = 0;
        });
    }

    /// Notes that other, proved credentials replace the present ones.
    pub fn are_replaced(&self) {
        self.change(|state| {
            state.verdict = Verdict::Working;
            state.refused = 0;
            state.version += 1;
            state.fresh_until = Instant::now() + FRESH;
        });
    }

    /// Notes that the server refuses all credentials that the owner has: nobody tries to log in, and callers get
    /// the reason.
    pub fn are_refused(&self) {
        self.change(|state| state.verdict = Verdict::Refused);
    }

    /// Notes that the renewal for which logins wait is over. From `due` on, logins wait for the next one.
    pub fn are_due(&self, due: Option<Instant>) {
        let mut state = self.lock();
        state.due = due;
        state.wanted.renewal = false;
        drop(state);
        self.renewed.notify_waiters();
    }

    /// How many logins of the pools the server has refused since the present credentials last worked.
    #[must_use]
    pub fn refusals(&self) -> u32 {
        self.lock().refused
    }

    /// Whether no login is tried at present.
    #[must_use]
    pub fn are_stopped(&self) -> bool {
        !matches!(self.lock().verdict, Verdict::Working)
    }

    /// Waits for the owner if the credentials are due to be renewed.
    pub(crate) async fn ready(&self) {
        loop {
            let mut renewed = std::pin::pin!(self.renewed.notified());
            renewed.as_mut().enable();
            {
                let mut state = self.lock();
                if state.due.is_none_or(|due| Instant::now() < due) {
                    return;
                }
                state.wanted.renewal = true;
            }
            self.asked.notify_one();
            renewed.await;
        }
    }

    fn begin(&self) -> Option<u64> {
        let mut state = self.lock();
        let most = match Instant::now() < state.fresh_until {
            true => u32::MAX,
            false => self.attempts,
        };
        if !matches!(state.verdict, Verdict::Working) || state.in_flight >= most {
            return None;
        }
        state.in_flight += 1;
        Some(state.version)
    }

    /// Why the pools do not try to log in, if the owner has nothing left to try.
    pub(crate) fn refusal(&self) -> Option<ConnectError> {
        let state = self.lock();
        let is_final = matches!(state.verdict, Verdict::Refused);
        is_final.then(|| state.why.clone()).flatten()
    }

    /// Whether the owner is still looking into a refusal.
    pub(crate) fn are_asked(&self) -> bool {
        matches!(self.lock().verdict, Verdict::Asking)
    }

    /// Notes that the server denied something to a session with the present credentials.
    pub(crate) fn denied(&self) {
        self.lock().wanted.denial = true;
        self.asked.notify_one();
    }

    /// Tells this pool from now on when a permit is available again.
    pub(crate) fn enlist(&self, pool: &Arc<Changes>) {
        let pools = &mut self.lock().pools;
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        self.tell(state);
    }

    fn tell(&self, state: MutexGuard<'_, State>) {
        let pools: Vec<_> = state.pools.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        pools.iter().for_each(|pool| pool.tell());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One login that may go ahead. Dropping it lets the next one go.
#[derive(Debug)]
pub(crate) struct LoginPermit(Option<Counted>);

/// A login with credentials that have an owner.
#[derive(Debug)]
struct Counted {
    logins: Arc<Logins>,
    version: u64,
}

impl LoginPermit {
    /// Lets one login go ahead, if it may. A pool without an owner of its credentials needs no permission.
    pub(crate) fn take(logins: Option<&Arc<Logins>>) -> Option<Self> {
        let Some(logins) = logins else {
            return Some(Self(None));
        };
        let version = logins.begin()?;
        let logins = Arc::clone(logins);
        Some(Self(Some(Counted { logins, version })))
    }

    /// Waits for the owner if the credentials are due to be renewed.
    pub(crate) async fn ready(&mut self) {
        if let Some(Counted { logins, version }) = &mut self.0 {
            logins.ready().await;
            *version = logins.lock().version;
        }
    }

    /// If the server has refused the credentials of a failed login, tells their owner.
    pub(crate) fn failed(&self, why: &ConnectError) {
        let Some(Counted { logins, version }) = &self.0 else {
            return;
        };
        let mut state = logins.lock();
        if !why.is_refusal_of_credentials() || state.version != *version {
            return;
        }
        state.refused += 1;
        state.why = Some(why.clone());
        // Only the first refusal wakes the owner. Other logins that were in flight with it show nothing new.
        if matches!(state.verdict, Verdict::Working) {
            state.verdict = Verdict::Asking;
            state.wanted.refusal = true;
            drop(state);
            logins.asked.notify_one();
        }
    }
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        let Some(Counted { logins, .. }) = &self.0 else {
            return;
        };
        let mut state = logins.lock();
        let was_full = state.in_flight >= logins.attempts;
        state.in_flight -= 1;
        if was_full {
            logins.tell(state);
        }
    }
}

/// How long credentials count as freshly proved.
const FRESH: Duration = Duration::from_secs(2);
