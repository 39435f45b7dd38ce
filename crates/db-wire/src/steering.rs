//! What the owner of one connection tells its wire.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;

use arc_swap::ArcSwapOption;

use crate::command::Watcher;
use crate::rules::Rules;

/// Steers the wire of one connection. The rules are set after login, when the pool knows what is at the other end.
#[derive(Default)]
pub struct Steering {
    startup: Arc<[(String, String)]>,
    answers_set_up: bool,
    rules: ArcSwapOption<Rules>,
    watcher: OnceLock<Watcher>,
    commits_next: AtomicBool,
    /// Why the connection has to end now.
    cut: OnceLock<String>,
    /// The reader that waits for the server to say something.
    reader: Mutex<Option<Waker>>,
}

impl Steering {
    /// `startup` has the parameters for the startup packet that tokio-postgres does not know. `answers_set_up` says
    /// whether the wire itself answers diesel-async's two set-up statements.
    #[must_use]
    pub fn new(startup: Arc<[(String, String)]>, answers_set_up: bool) -> Self {
        Self {
            startup,
            answers_set_up,
            ..Self::default()
        }
    }

    /// Sets the rules that hold from the next request on. Until this is called, bytes pass as they are.
    pub fn set_rules(&self, rules: Rules) {
        self.rules.store(Some(Arc::new(rules)));
    }

    /// Sets the watcher that is told of finished commands. Only the first call has an effect.
    pub fn set_watcher(&self, watcher: Watcher) {
        let _first = self.watcher.set(watcher);
    }

    /// Ends the connection from outside, whatever its server does. The wire tells the client this reason in the
    /// server's place, and also says so if the outcome is unknown. Only the first call has an effect.
    pub fn cut(&self, why: String) {
        if self.cut.set(why).is_ok() {
            let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(reader) = &*reader {
                reader.wake_by_ref();
            }
        }
    }

    /// Why the connection has to end now, if it has to.
    #[must_use]
    pub fn is_cut(&self) -> Option<&str> {
        self.cut.get().map(String::as_str)
    }

    /// Notes the reader to wake when that happens.
    pub(crate) fn note_reader(&self, waker: &Waker) {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *reader {
            Some(known) => known.clone_from(waker),
            unknown => *unknown = Some(waker.clone()),
        }
    }

    /// The rules, once they are set.
    #[must_use]
    pub fn rules(&self) -> Option<Arc<Rules>> {
        self.rules.load_full()
    }

    /// Lets COMMIT travel with the next statement of the transaction, which the client says is the last.
    ///
    /// It applies to the next request that runs something. If that request is no SELECT, INSERT, UPDATE, DELETE, MERGE,
    /// VALUES, TABLE or WITH, or runs outside a transaction, the call has no effect, and COMMIT goes out when the
    /// client sends it.
    pub fn commit_with_next(&self) {
        self.commits_next.store(true, Ordering::Release);
    }

    /// Withdraws [`Steering::commit_with_next`], because the transaction has ended without a statement after it.
    pub fn commit_with_none(&self) {
        self.commits_next.store(false, Ordering::Release);
    }

    /// Whether COMMIT travels with the request that is being handled. The answer is true only once for each call of
    /// [`Steering::commit_with_next`].
    pub(crate) fn take_commit(&self) -> bool {
        self.commits_next.load(Ordering::Acquire) && self.commits_next.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn watcher(&self) -> Option<&Watcher> {
        self.watcher.get()
    }

    pub(crate) fn startup(&self) -> &[(String, String)] {
        &self.startup
    }

    pub(crate) fn answers_set_up(&self) -> bool {
        self.answers_set_up
    }
}

impl std::fmt::Debug for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steering")
            .field("rules", &self.rules.load())
            .finish_non_exhaustive()
    }
}
