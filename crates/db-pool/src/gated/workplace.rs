//! A server with a pool on it, and the checks of both at the end.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use db_config::Environment;
use diesel_async::SimpleAsyncConnection;
use futures_util::future::{join_all, try_join_all};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::server::Server;
use super::session::FRESH;
use crate::checkout::connection::Connection;
use crate::error::PoolError;
use crate::pool::Pool;
use crate::profile::PoolProfile;
use crate::shared::Shared;

pub(super) struct Workplace {
    pub(super) server: Arc<Server>,
    pub(super) pool: Pool,
}

/// A profile of `max` connections. The pool makes none ahead, and ends none because of its age.
pub(super) fn sized(max: u32) -> PoolProfile {
    // Reading the table takes longer than most test cases.
    static PROFILE: LazyLock<PoolProfile> = LazyLock::new(|| PoolProfile::of(&Environment::Test));
    let mut profile = PROFILE.clone();
    profile.max = max;
    profile.min_idle = 0;
    profile.max_waiting = None;
    profile.idle_timeout = None;
    profile.max_lifetime = None;
    profile.max_uses = 0;
    profile.checkout_timeout = Duration::from_secs(3);
    profile.connect_timeout = Duration::from_secs(4);
    profile.validate_after = Duration::from_secs(60);
    profile
}

impl Workplace {
    pub(super) fn new(profile: PoolProfile) -> Self {
        let server = Server::start();
        let pool = Pool::connect_lazy(server.endpoint(), profile);
        Self { server, pool }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.pool.shared()
    }

    /// As many connections as the pool may have, all at the same time.
    pub(super) async fn all(&self) -> Vec<Connection> {
        let callers = (0..self.pool.status().max).map(|_| self.pool.get());
        try_join_all(callers).await.unwrap()
    }

    /// Opens every gate and waits until nothing happens any more, which takes almost no time.
    pub(super) async fn comes_to_rest(&self) {
        self.server.gates.open_all();
        let opened = Instant::now();
        let registry = &self.shared().registry;
        let beside = || registry.beside.load(Ordering::Acquire);
        while registry.tasks().len() > self.lasting_tasks()
            || registry.in_use() > 0
            // Sessions that the pool does not count.
            || self.server.facts().live.len() != (registry.established() + beside()) as usize
        {
            assert!(opened.elapsed() < AT_ONCE, "{self}");
            quiet().await;
        }
    }

    /// The tasks that stay: the keeper, and the prober once there was a probe.
    fn lasting_tasks(&self) -> usize {
        let shared = self.shared();
        let prober = usize::from(shared.questions.get().is_some());
        (1 + prober) * usize::from(!shared.registry.is_closed())
    }

    /// Asserts that no place, permit, turn, live backend, session or task is lost, and that no caller
    /// gets what another one left. `beside` is the number of connections beside the pool's own.
    pub(super) async fn is_whole(&self, beside: usize) {
        self.is_at_rest();
        self.serves_as_many_as_it_may().await;
        self.is_at_rest();
        let status = self.pool.status();
        assert_eq!(status.idle, status.max, "{status:?}");
        let most = status.max as usize + beside;
        let facts = self.server.facts();
        assert!(facts.most_live <= most, "{} at a time", facts.most_live);
    }

    /// Asserts that exactly as many callers get a connection at once as the pool may have connections.
    pub(super) async fn serves_as_many_as_it_may(&self) {
        let began = Instant::now();
        let mut held = self.all().await;
        assert!(began.elapsed() < AT_ONCE, "{self}");
        let refused = self.pool.try_get().await.unwrap_err();
        assert!(matches!(refused, PoolError::InUse { .. }), "{refused}");
        let fresh = held.iter_mut().map(|held| held.batch_execute(FRESH));
        for answer in join_all(fresh).await {
            answer.unwrap();
        }
        let status = self.pool.status();
        let all = (status.max, status.max);
        assert_eq!((status.in_use, status.open), all, "{status:?}");
        drop(held);
        quiet().await;
        let facts = self.server.facts();
        assert!(facts.wrong.is_empty(), "{:?}", facts.wrong);
    }

    /// Asserts that nothing is running and that all counts agree.
    pub(super) fn is_at_rest(&self) {
        let shared = self.shared();
        let registry = &shared.registry;
        let status = self.pool.status();
        let gone = status.closed.discarded
            + status.closed.by_rotation
            + status.closed.by_idle_timeout
            + status.closed.by_age
            + status.closed.by_uses
            + status.closed.by_resize
            + status.detached;
        assert_eq!(
            status.connects.opened,
            u64::from(status.open) + gone,
            "{self}"
        );
        assert_eq!((status.in_use, status.waiting), (0, 0), "{self}");
        assert_eq!(status.open, status.idle, "{self}");
        assert_eq!(shared.slots.alive(), status.open, "{self}");
        assert_eq!(shared.slots.surplus(), 0, "{self}");
        assert!(status.open <= status.max, "{self}");
        assert_eq!(status.retiring, 0, "{self}");
        let current = registry.generations.current();
        let beside = registry.beside.load(Ordering::Acquire);
        assert_eq!(current.live(), status.open + beside, "{self}");
        assert!(registry.turns.is_empty(), "{self}");
        assert!(!registry.turns.is_short_of_connections(), "{self}");
        for count in [
            &registry.being_closed,
            &registry.proving,
            &registry.unanswered,
        ] {
            assert_eq!(count.load(Ordering::Acquire), 0, "{self}");
        }
        let live_backends = registry.live_backends();
        assert_eq!(live_backends.len(), status.open as usize, "{self}");
        assert!(live_backends.iter().all(|live| !live.is_held()), "{self}");
        // Each session has a task at either end of its stream, except the prober's session.
        let tasks = Handle::current().metrics().num_alive_tasks();
        let at_sessions = 2 * live_backends.len() + beside as usize;
        assert_eq!(tasks, self.lasting_tasks() + at_sessions, "{self}");
        // The list is copied, because a failing assertion asks the server again.
        let users: Vec<_> = {
            let facts = self.server.facts();
            facts.live.values().map(|live| live.user.clone()).collect()
        };
        assert_eq!(
            users,
            vec![current.endpoint.user.clone(); live_backends.len() + beside as usize],
            "{self}"
        );
    }
}

impl fmt::Display for Workplace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tasks = self.shared().registry.tasks().len();
        let live = self.server.facts().live.len();
        let status = self.pool.status();
        write!(f, "{tasks} tasks, {live} sessions, {status:?}")
    }
}

pub(super) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The result of a future, and how long it takes.
pub(super) async fn timed<T>(doing: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let outcome = doing.await;
    (outcome, began.elapsed())
}

/// Waits until every task waits. The paused clock does not move before that.
pub(super) async fn quiet() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Less than any bound, delay or period of the pool. If something takes longer, only a timer has repaired
/// it.
pub(super) const AT_ONCE: Duration = Duration::from_millis(40);

/// Runs a test on a paused clock, and without real sockets. A test that waits for ever fails, because the
/// keeper would move the clock on and on.
pub(super) fn on_paused_clock(test: impl Future<Output = ()>) {
    on_paused_clock_for(ms(3_600_000), test);
}

/// Like [`on_paused_clock`], for a test that may take up to `bound` on that clock.
pub(super) fn on_paused_clock_for(bound: Duration, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let bounded = async { timeout(bound, test).await };
    runtime.unwrap().block_on(bounded).unwrap();
}
