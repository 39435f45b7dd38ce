//! The renewal: fetches credentials when they are due, and looks for others when the server refuses them.
//!
//! One task for all pools that share the credentials. A fetch that fails, hangs or panics changes nothing.

use std::sync::{Arc, Weak};

use db_pool::plumbing::{self, DrainRules, Logins, Wanted};
use db_pool::{ConnectError, PoolError, Rotation};
use tokio::time::{Instant, sleep_until};

use crate::credentials::configured::Configured;
use crate::credentials::fetch::Delivery;
use crate::credentials::keyring::at_once;
use crate::credentials::known::{Candidate, Rank};
use crate::credentials::renewal_handle::{Refresh, RenewalHandle, Request, Requests};
use crate::credentials::schedule::Schedule;
use crate::credentials::source::CredentialsError;
use crate::credentials::status::CredentialState;
use crate::error::Error;
use crate::pools::Pools;

/// The background task of a database.
///
/// It starts when the pools are opened. It wakes when a file has new content, when a secret is about to expire, when
/// the server refuses a login or denies a session something, and on `Database::refresh`. It ends when the database is
/// shut down or its last handle is dropped.
pub(crate) struct Renewal {
    pools: Weak<Pools>,
    configured: Configured,
    logins: Arc<Logins>,
    heard: Requests,
    schedule: Schedule,
    /// Whether the log already says that the server accepts none of the known credentials.
    window: bool,
}

/// Why the renewal acts.
#[derive(Debug)]
enum Wake {
    /// The source may have new content, or a fetch is due.
    Due,
    Wanted(Wanted),
    /// A secret that the server has refused may be tried again.
    Again,
    Asked(Request),
}

impl Renewal {
    /// Starts the task for pools that were opened with this delivery.
    pub(crate) fn start(
        pools: &Arc<Pools>,
        configured: Configured,
        logins: Arc<Logins>,
        first: Option<&Delivery>,
    ) -> RenewalHandle {
        let (handle, heard) = RenewalHandle::new(pools.write.name());
        let mut schedule = Schedule::default();
        match first {
            Some(first) => {
                schedule.delivered(first, &configured.rules);
            }
            None if configured.source.is_some() => schedule = Schedule::unasked(),
            None => {}
        }
        logins.are_due(schedule.before_login);
        let renewal = Self {
            pools: Arc::downgrade(pools),
            configured,
            logins,
            heard,
            schedule,
            window: false,
        };
        // The task runs on the runtime of the pools; closing a pool does not wait for it.
        plumbing::spawn(&pools.write, async {
            tokio::spawn(renewal.run());
        });
        handle
    }

    async fn run(mut self) {
        let mut closing = self.heard.closing.clone();
        tokio::select! {
            biased;
            _closed = closing.wait_for(|closing| *closing) => {}
            () = self.renew_for_ever() => {}
        }
    }

    async fn renew_for_ever(&mut self) {
        let mut again = None;
        loop {
            let timer = self.timer();
            let wake = tokio::select! {
                biased;
                request = self.heard.requests.recv() => match request {
                    Some(request) => Wake::Asked(request),
                    None => return,
                },
                wanted = self.logins.asked() => Wake::Wanted(wanted),
                () = changed(&self.configured) => Wake::Due,
                () = at(timer) => Wake::Due,
                () = at(again) => Wake::Again,
            };
            let Some(pools) = self.pools.upgrade() else {
                return;
            };
            let outcome = self.renew(&pools, &wake).await;
            if let Wake::Asked(request) = wake {
                let _unheard = request.send(outcome);
            }
            again = pools.keyring.next();
        }
    }

    /// When the next fetch is due; a lazy renewal has no timer.
    fn timer(&self) -> Option<Instant> {
        self.schedule.due.filter(|_| !self.configured.rules.is_lazy)
    }

    async fn renew(&mut self, pools: &Pools, wake: &Wake) -> Result<Refresh, Error> {
        let is_refused = matches!(wake, Wake::Wanted(wanted) if wanted.refusal);
        let is_denied = matches!(wake, Wake::Wanted(wanted) if wanted.denial);
        let is_idle = matches!(wake, Wake::Wanted(wanted) if !wanted.refusal && !wanted.renewal);
        if is_idle && (self.configured.source.is_none() || self.schedule.denials_are_ordinary()) {
            return Ok(Refresh::Unchanged);
        }
        let fetched = match wake {
            Wake::Again => Ok(false),
            _ => self.fetch(pools).await,
        };
        if matches!(wake, Wake::Asked(_)) {
            pools.read_certificates();
        }
        let is_new = *fetched.as_ref().unwrap_or(&false);
        let candidates = match wake {
            // Both the secrets that are due and the new ones.
            Wake::Again => pools.keyring.due(self.logins.refusals()),
            Wake::Asked(_) => pools.keyring.all(self.logins.are_stopped()),
            _ if is_refused => pools.keyring.others(),
            _ if is_new => pools.keyring.newly_delivered(),
            _ => Vec::new(),
        };
        if is_refused {
            pools.keyring.refused_at_login(self.logins.refusals());
        }
        let drain = match is_denied && is_new {
            true => at_once(pools.keyring.drain()),
            false => pools.keyring.drain(),
        };
        let tried = self.try_each(pools, candidates, drain).await;
        if is_denied && !is_new {
            self.schedule.denial_was_ordinary();
        }
        self.settle(pools, &tried);
        // Only now may logins go on that wait: a login takes the credentials that it finds.
        self.logins.are_due(self.schedule.before_login);
        pools
            .keyring
            .is(match (&fetched, self.logins.are_stopped()) {
                (_, true) => CredentialState::Refused,
                (Err(_), _) => CredentialState::Due,
                _ => CredentialState::Fresh,
            });
        match (tried, fetched) {
            (Tried::Published(rotation), _) => Ok(Refresh::Rotated(rotation)),
            (Tried::Refused(error), _) if matches!(wake, Wake::Asked(_)) => Err(Error::Pool(error)),
            (_, Err(error)) => Err(Error::Credentials(error)),
            _ => Ok(Refresh::Unchanged),
        }
    }

    /// Asks the source; `true` if it delivers something new.
    async fn fetch(&mut self, pools: &Pools) -> Result<bool, CredentialsError> {
        if self.configured.source.is_some() {
            pools.keyring.is(CredentialState::Fetching);
        }
        let delivery = match self.configured.fetch().await {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.fetch_failed(pools, &error);
                return Err(error);
            }
        };
        let is_first = pools.keyring.is_empty();
        let present = plumbing::endpoint(&pools.write);
        let mut is_new = pools.keyring.delivered(&delivery, &present);
        if is_first && is_new {
            // The pools take it unproven, as at their opening: the server may not be up yet.
            pools.begin_with(&delivery.secret).await;
            is_new = false;
        }
        if self.schedule.delivered(&delivery, &self.configured.rules) {
            tracing::info!(target: "app_db::credentials",
                source = self.configured.name,
                "the credentials can be fetched again"
            );
        }
        Ok(is_new)
    }

    fn fetch_failed(&mut self, pools: &Pools, error: &CredentialsError) {
        pools.keyring.fetch_failed(error.problem());
        if self.schedule.fetch_failed(self.configured.rules.is_lazy) {
            tracing::warn!(target: "app_db::credentials",
                source = self.configured.name,
                error = chain(error),
                "the credentials cannot be fetched; those in place stay"
            );
        }
    }

    /// Tries the candidates one after the other until the server accepts one.
    async fn try_each(
        &mut self,
        pools: &Pools,
        candidates: Vec<Candidate>,
        drain: DrainRules,
    ) -> Tried {
        let mut tried = Tried::Nothing;
        for candidate in candidates {
            pools.keyring.is(CredentialState::Proving);
            let secret = &candidate.secret;
            let is_current = pools.keyring.is_current(secret);
            let outcome = match is_current {
                true => pools.prove_current().await.map(|()| None),
                false => pools.renew(secret, drain).await.map(Some),
            };
            match outcome {
                Ok(None) => return Tried::CurrentWorks,
                Ok(Some(rotation)) => {
                    pools.keyring.published(secret.clone(), candidate.rank);
                    tell_of(candidate.rank, secret.credentials.user(), &rotation);
                    return Tried::Published(rotation);
                }
                Err(error) => {
                    // A missing right, database or setting counts as much as a wrong password: the server refuses a
                    // login each time.
                    let refusal = error.connect_error();
                    if refusal.is_some_and(ConnectError::is_refusal_of_login) {
                        pools.keyring.refused(secret);
                    } else if matches!(error, PoolError::OtherCluster { .. }) {
                        pools.keyring.rejected(secret);
                    } else {
                        pools.keyring.untold(secret);
                    }
                    if !is_current && candidate.is_untold() {
                        tracing::warn!(target: "app_db::credentials",
                            user = secret.credentials.user(),
                            error = chain(&error),
                            "other credentials do not work; those in place stay"
                        );
                    }
                    tried = Tried::Refused(error);
                }
            }
        }
        tried
    }

    /// Lets logins go on, or stops them and says why.
    fn settle(&mut self, pools: &Pools, tried: &Tried) {
        let was_stopped = self.logins.are_stopped();
        match tried {
            Tried::CurrentWorks => {
                pools.keyring.works();
                self.logins.work();
                pools.logins_work();
            }
            Tried::Published(_) => {}
            Tried::Nothing | Tried::Refused(_) if !was_stopped => return,
            Tried::Nothing | Tried::Refused(_) => {
                self.logins.are_refused();
                if !std::mem::replace(&mut self.window, true) {
                    tracing::warn!(target: "app_db::credentials",
                        source = self.configured.name,
                        user = pools.keyring.user(),
                        "the server refuses the credentials, and no others are known that it accepts; \
                         open connections are kept"
                    );
                }
                return;
            }
        }
        if std::mem::take(&mut self.window) {
            tracing::info!(target: "app_db::credentials",
                user = pools.keyring.user(),
                "the server accepts the credentials again"
            );
        }
    }
}

/// The outcome of [`Renewal::try_each`].
enum Tried {
    Nothing,
    /// None worked; the error of the last one.
    Refused(PoolError),
    CurrentWorks,
    Published(Rotation),
}

fn tell_of(rank: Rank, user: &str, rotation: &Rotation) {
    let generation = rotation.generation();
    match rank {
        Rank::Latest => tracing::info!(target: "app_db::credentials",
            user, generation, "the credentials are renewed"),
        Rank::Fallback => tracing::warn!(target: "app_db::credentials",
            user, generation, "the fallback credentials are in use, as the server refuses the others"),
        Rank::Former => tracing::warn!(target: "app_db::credentials",
            user, generation, "the former credentials are put back, as the server refuses the new ones"),
    }
}

async fn changed(configured: &Configured) {
    match &configured.source {
        Some(source) if !configured.rules.is_lazy => source.changed_any().await,
        _ => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
