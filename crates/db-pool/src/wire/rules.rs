//! What the wire is told to do, and whom it tells what it saw.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio_postgres::error::SqlState;

use super::local_settings::LocalSettings;

/// How the wire treats statements and transactions of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) naming: Naming,
    /// How many texts are kept prepared; 0 prepares each statement as its client asks.
    pub(crate) statement_cache: usize,
    /// Whether BEGIN travels with the first statement, and a read-only COMMIT is not waited for.
    pub(crate) defer_begin: bool,
    /// Settings that cannot be the session's own, put into each transaction.
    pub(crate) local_settings: Option<LocalSettings>,
    /// Whether the session is shared with others, so that LISTEN and session locks are refused.
    pub(crate) shared_session: bool,
    /// Whether a SET that others on that session would see is refused as well.
    pub(crate) refuses_set: bool,
    /// The text by which the pool resets the session, where it does.
    pub(crate) reset: Option<Arc<str>>,
    /// Whether a transaction that names no isolation level is SERIALIZABLE.
    pub(crate) serializable_by_default: bool,
}

/// How statements are named on the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By the client's own names.
    #[default]
    Named,
    /// Not at all: each is parsed in the batch that runs it, which any pooler sends to one server.
    Unnamed,
}

/// One finished command, as the wire saw it.
pub(crate) struct Command<'c> {
    /// The text with its placeholders.
    pub(crate) sql: &'c [u8],
    pub(crate) note: &'c Note,
    /// From sending it, or from the end of what was before it, to its completion.
    pub(crate) duration: Duration,
    /// The part of it until the first row, or until its completion where it has none; of a COPY FROM STDIN
    /// until the server was ready for rows, so that the rest is sending and storing them.
    pub(crate) executing: Duration,
    pub(crate) rows: u64,
    /// Why it failed; 08006 when the connection ended before the server had answered.
    pub(crate) sqlstate: Option<&'c SqlState>,
    pub(crate) in_transaction: bool,
}

/// What a watcher keeps by a text for as long as the connection knows the text; of no meaning to the wire.
pub(crate) type Note = Mutex<Option<Arc<dyn Any + Send + Sync>>>;

/// Whoever wants to hear of finished commands.
pub(crate) type Watcher = Box<dyn Fn(&Command<'_>) + Send + Sync>;

/// What one connection's wire is steered by; the rules are set after login, when it is known what is at
/// the other end.
#[derive(Default)]
pub(crate) struct Steering {
    /// Parameters for the startup packet beside those that tokio-postgres knows.
    pub(crate) startup: Arc<[(String, String)]>,
    /// Whether diesel-async's two set-up statements are answered by the wire.
    pub(crate) answers_set_up: bool,
    rules: ArcSwapOption<Rules>,
    watcher: OnceLock<Watcher>,
}

impl Steering {
    pub(crate) fn new(startup: Arc<[(String, String)]>, answers_set_up: bool) -> Self {
        Self {
            startup,
            answers_set_up,
            ..Self::default()
        }
    }

    /// Until they are set, bytes pass as they are.
    pub(crate) fn set_rules(&self, rules: Rules) {
        self.rules.store(Some(Arc::new(rules)));
    }

    pub(crate) fn set_watcher(&self, watcher: Watcher) {
        let _first = self.watcher.set(watcher);
    }

    pub(crate) fn rules(&self) -> Option<Arc<Rules>> {
        self.rules.load_full()
    }

    pub(crate) fn watcher(&self) -> Option<&Watcher> {
        self.watcher.get()
    }
}

impl std::fmt::Debug for Steering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steering")
            .field("rules", &self.rules.load())
            .finish_non_exhaustive()
    }
}
