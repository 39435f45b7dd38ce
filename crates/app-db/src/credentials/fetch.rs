//! One fetch, which contains a hang or a panic of the source.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::credentials::secret::Secret;
use crate::credentials::source::{AnySource, CredentialsError, CredentialsProblem, Fetched};

/// What a fetch has delivered.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) secret: Secret,
    pub(crate) fallback: Option<Secret>,
    /// How long the secret is valid, counted from the start of the fetch.
    pub(crate) life: Option<Duration>,
}

/// Fetches once within `patience`; `origin` names the source in error texts.
pub(crate) async fn fetch(
    source: &Arc<dyn AnySource>,
    origin: &str,
    patience: Duration,
) -> Result<Delivery, CredentialsError> {
    let began = Instant::now();
    let asked = Arc::clone(source);
    // The source runs in its own task, so that a panic ends only that task.
    let mut fetching = Owned(tokio::spawn(async move { asked.fetch_any().await }));
    let failed = |problem| CredentialsError::of(origin, problem);
    let fetched = match timeout(patience, &mut fetching.0).await {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_panic)) => return Err(failed(CredentialsProblem::Panicked)),
        Err(_elapsed) => {
            return Err(
                failed(CredentialsProblem::TimedOut).explained(format!("{patience:?} have passed"))
            );
        }
    };
    delivery(fetched, began).ok_or_else(|| failed(CredentialsProblem::Expired))
}

/// Turns the expiry time into an `Instant`, so that a later change of the clock has no effect. `None` if the secret has
/// expired.
fn delivery(fetched: Fetched, began: Instant) -> Option<Delivery> {
    let life = match fetched.expires_at {
        Some(at) => Some(at.duration_since(SystemTime::now()).ok()?),
        None => None,
    };
    let secret = |credentials| Secret {
        credentials,
        host: fetched.host.clone(),
        port: fetched.port,
        expires: life.and_then(|life| began.checked_add(life)),
        is_lease: fetched.is_lease,
    };
    Some(Delivery {
        fallback: fetched.fallback.clone().map(|credentials| Secret {
            expires: None,
            ..secret(credentials)
        }),
        secret: secret(fetched.credentials.clone()),
        life,
    })
}

/// A task that ends with its handle.
struct Owned<T>(JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
