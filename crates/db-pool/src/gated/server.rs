//! The server: its clients, its sessions, and the mistakes that it has seen.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use db_config::{Endpoint, PooledUrl};
use tokio::io::DuplexStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gates::Gates;
use super::session;

/// A PostgreSQL server in memory; it ends with its last handle.
pub(super) struct Server {
    dir: PathBuf,
    pub(super) gates: Gates,
    /// How often a session lets all other tasks run before it says anything.
    pub(super) politeness: AtomicU32,
    facts: Mutex<Facts>,
}

/// The facts of the server that a test may ask for.
#[derive(Default)]
pub(super) struct Facts {
    /// Sessions by their process numbers, from the startup packet until the server hangs up.
    pub(super) live: BTreeMap<i32, Live>,
    pub(super) most_live: usize,
    /// When startup packets came, and when accepted sessions ended.
    pub(super) logins: Vec<Instant>,
    pub(super) ends: Vec<(i32, Instant)>,
    pub(super) cancels: Vec<Cancel>,
    pub(super) commits: u32,
    /// Events that must not happen.
    pub(super) wrong: Vec<String>,
    /// The SQLSTATE with which it refuses logins, if it does.
    pub(super) refusal: Option<&'static str>,
    /// Cancelled when all sessions must end. Present while the server accepts connections.
    up: Option<CancellationToken>,
    processes: i32,
}

/// One session.
pub(super) struct Live {
    pub(super) user: String,
    key: i32,
    pub(super) doing: Doing,
    cancelled: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Nothing,
    /// Work that a cancel request stops.
    Work,
    Commit,
}

/// A cancel request that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cancel {
    /// What its session was doing at that time, if the session existed.
    pub(super) found: Option<Doing>,
}

impl Server {
    pub(super) fn start() -> Arc<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let server = Arc::new(Self {
            dir: format!("/gated/{number}").into(),
            gates: Gates::new(),
            politeness: AtomicU32::new(0),
            facts: Mutex::default(),
        });
        server.resume();
        let mut all = SERVERS.lock().unwrap();
        all.insert(server.dir.clone(), Arc::downgrade(&server));
        drop(all);
        server
    }

    /// The server that has a socket there.
    pub(super) fn at(socket: &Path) -> Option<Arc<Self>> {
        SERVERS.lock().unwrap().get(socket.parent()?)?.upgrade()
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let url = format!("postgres://old:canary@/d?host={}", self.dir.display());
        Endpoint::from(PooledUrl::parse(&url).unwrap())
    }

    /// Ends every session, and accepts no more connections.
    pub(super) fn stop(&self) {
        if let Some(up) = self.facts().up.take() {
            up.cancel();
        }
    }

    pub(super) fn resume(&self) {
        self.facts().up.get_or_insert_default();
    }

    /// Opens a connection, for a session or a cancel request.
    pub(super) async fn accept(self: Arc<Self>) -> io::Result<DuplexStream> {
        self.gates.pass(super::Point::Accepting).await;
        let up = self.facts().up.clone();
        let Some(up) = up else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (client, stream) = tokio::io::duplex(BUFFER);
        tokio::spawn(async move {
            up.run_until_cancelled(session::serve(stream, self)).await;
        });
        Ok(client)
    }

    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap()
    }

    /// A session begins. It is over when the result is dropped.
    pub(super) fn begin(self: &Arc<Self>, user: String) -> Process {
        let mut facts = self.facts();
        facts.processes += 1;
        let process = Process {
            pid: facts.processes,
            key: facts.processes * 1_000,
            cancelled: Arc::default(),
            server: Arc::clone(self),
        };
        let live = Live {
            user,
            key: process.key,
            doing: Doing::Nothing,
            cancelled: Arc::clone(&process.cancelled),
        };
        facts.live.insert(process.pid, live);
        facts.most_live = facts.most_live.max(facts.live.len());
        facts.logins.push(Instant::now());
        drop(facts);
        process
    }

    /// Does what a cancel request asks for.
    pub(super) fn cancel(&self, pid: i32, key: i32) {
        let mut facts = self.facts();
        let found = facts.live.get(&pid).filter(|live| live.key == key);
        let doing = found.map(|live| live.doing);
        if let Some(live) = found.filter(|live| live.doing == Doing::Work) {
            live.cancelled.notify_one();
        }
        facts.cancels.push(Cancel { found: doing });
    }
}

/// The process of one session.
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) key: i32,
    /// Notified when its work is cancelled.
    pub(super) cancelled: Arc<Notify>,
    pub(super) server: Arc<Server>,
}

impl Process {
    pub(super) fn does(&self, doing: Doing) {
        if let Some(live) = self.server.facts().live.get_mut(&self.pid) {
            live.doing = doing;
        }
    }

    pub(super) fn complain(&self, what: &str) {
        let complaint = format!("process {}: {what}", self.pid);
        self.server.facts().wrong.push(complaint);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut facts = self.server.facts();
        facts.live.remove(&self.pid);
        facts.ends.push((self.pid, Instant::now()));
    }
}

/// How many bytes may be in flight between a client and its session.
const BUFFER: usize = 64 * 1024;

/// The servers by their directories.
static SERVERS: Mutex<BTreeMap<PathBuf, Weak<Server>>> = Mutex::new(BTreeMap::new());
