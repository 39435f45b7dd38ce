//! A TCP proxy inside the test's process that fails on demand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::HarnessError;
use crate::beside::{beside, done_beside};
use crate::error::Doing;
use crate::faults::{Direction, Fault};

/// Forwards a port of its own to another one on 127.0.0.1; ends on drop, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    fault: watch::Sender<Fault>,
    endings: broadcast::Sender<Ending>,
    open: Arc<AtomicUsize>,
    listening: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

/// How open connections are closed.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Cut,
    Reset,
}

impl Proxy {
    /// Starts forwarding to a port, without a fault.
    pub async fn start(target: u16) -> Result<Self, HarnessError> {
        let listener = done_beside(TcpListener::bind(("127.0.0.1", 0)))
            .await
            .doing(|| "binding a proxy's port".to_owned())?;
        let port = listener
            .local_addr()
            .doing(|| "asking for a proxy's port".to_owned())?
            .port();
        let (fault, faults) = watch::channel(Fault::None);
        let (endings, _) = broadcast::channel(16);
        let (listens, listening) = watch::channel(true);
        let open = Arc::new(AtomicUsize::new(0));
        let acceptor = Acceptor {
            port,
            target,
            faults,
            endings: endings.clone(),
            open: Arc::clone(&open),
            listens,
        };
        let task = beside(acceptor.run(listener));
        Ok(Self {
            port,
            fault,
            endings,
            open,
            listening,
            task,
        })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Switches to a fault, or back with [`Fault::None`].
    pub async fn set(&self, fault: Fault) {
        let listens = fault != Fault::Refuse;
        self.fault.send_replace(fault);
        // The port is closed or open when this returns. The sender lives in the task, which we own.
        let _ = self.listening.clone().wait_for(|now| *now == listens).await;
    }

    /// Closes all open connections in order (FIN).
    pub fn cut(&self) {
        let _ = self.endings.send(Ending::Cut);
    }

    /// Aborts all open connections (RST).
    pub fn reset(&self) {
        let _ = self.endings.send(Ending::Reset);
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its connections are in a JoinSet that goes with it.
        self.task.abort();
    }
}

/// Accepts until the proxy is dropped. It has no listener while the fault requires that.
struct Acceptor {
    port: u16,
    target: u16,
    faults: watch::Receiver<Fault>,
    endings: broadcast::Sender<Ending>,
    open: Arc<AtomicUsize>,
    listens: watch::Sender<bool>,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        let mut connections = JoinSet::new();
        loop {
            let refuses = *self.faults.borrow_and_update() == Fault::Refuse;
            match (refuses, &listener) {
                (true, Some(_)) => listener = None,
                (false, None) => listener = TcpListener::bind(("127.0.0.1", self.port)).await.ok(),
                _ => {}
            }
            self.listens.send_replace(listener.is_some());
            let accept = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok((client, _)) = accept => {
                    let link = Link { faults: self.faults.clone(), lost: AtomicBool::new(false) };
                    connections.spawn(serve(client, self.target, link, self.endings.subscribe(), Open::count(&self.open)));
                }
                changed = self.faults.changed() => if changed.is_err() { return },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// One connection's share of the state.
struct Link {
    faults: watch::Receiver<Fault>,
    /// The next reply is swallowed and ends the connection.
    lost: AtomicBool,
}

async fn serve(
    mut client: TcpStream,
    target: u16,
    link: Link,
    mut endings: broadcast::Receiver<Ending>,
    _open: Open,
) {
    // A stalled proxy has not even connected to the server.
    let _ = link
        .faults
        .clone()
        .wait_for(|fault| !fault.holds(Direction::Request))
        .await;
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ending = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            // This branch comes first, so that data held by a fault are lost if the connection is
            // cut before the fault ends.
            biased;
            ending = endings.recv() => ending.ok(),
            _ = link.pump(from_client, to_server, Direction::Request) => None,
            _ = link.pump(from_server, to_client, Direction::Reply) => None,
        }
    };
    if matches!(ending, Some(Ending::Reset)) {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

impl Link {
    /// Forwards one direction to its end.
    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        direction: Direction,
    ) -> io::Result<()> {
        let mut faults = self.faults.clone();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            self.released(&mut faults, direction).await;
            let count = from.read(&mut buffer).await?;
            // Data that were read just before the fault are held too.
            self.released(&mut faults, direction).await;
            let fault = faults.borrow().clone();
            tokio::time::sleep(fault.delay()).await;
            let bytes = &buffer[..count];
            let ends = match direction {
                Direction::Request => fault.loses_request(bytes),
                Direction::Reply => self.lost.load(Ordering::SeqCst),
            };
            if count == 0 || ends {
                return Ok(());
            }
            if direction == Direction::Request && fault.loses_reply(bytes) {
                self.lost.store(true, Ordering::SeqCst);
            }
            to.write_all(bytes).await?;
        }
    }

    async fn released(&self, faults: &mut watch::Receiver<Fault>, direction: Direction) {
        // An error means that the proxy is being dropped, and this task with it.
        let _ = faults.wait_for(|fault| !fault.holds(direction)).await;
    }
}

/// Counts itself among the open connections.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(all))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
