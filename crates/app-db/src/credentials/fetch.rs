//! One fetch, from which neither a hang nor a panic gets out.

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
    /// How long the secret is valid from its fetch on.
    pub(crate) life: Option<Duration>,
}

/// Fetches once, within a time; `origin` is the source as it stands in a sentence.
pub(crate) async fn fetch(
    source: &Arc<dyn AnySource>,
    origin: &str,
    patience: Duration,
) -> Result<Delivery, CredentialsError> {
    let began = Instant::now();
    let asked = Arc::clone(source);
    // In a task of its own: a panic ends that one.
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

/// Turns the server's clock into ours: from here on only the time that passes counts. `None` for what has expired.
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
