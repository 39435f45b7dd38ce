//! From the first request to the last: signals, readiness, drain, new credentials.

use std::future::{Future, IntoFuture};
use std::io;
use std::num::ParseIntError;
use std::os::fd::AsFd;
use std::time::Duration;

use app_db::{Config, Credentials, Database, Refresh};
use axum::Router;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::error;

/// How long requests and transactions in progress may take to end.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Whether the service is shutting down.
#[derive(Clone)]
pub(crate) struct Lifecycle {
    draining: watch::Receiver<bool>,
}

impl Lifecycle {
    /// Starts the task that waits for signals. It ends with the first SIGTERM or SIGINT. If `ends_with_input` is
    /// set, it also ends with the end of standard input.
    pub(crate) fn watch_signals(db: Database, ends_with_input: bool) -> io::Result<Self> {
        let (sender, draining) = watch::channel(false);
        let signals = Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            parent: ends_with_input.then(pipe_of_standard_input).transpose()?,
            db,
            draining: sender,
        };
        tokio::spawn(signals.run());
        Ok(Self { draining })
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Serves until a signal; then goes on for `drain`, stops accepting, and lets what is in progress
    /// end within [`GRACE`].
    ///
    /// Readiness is withdrawn by the signal itself, so a load balancer has the time of `drain` to send
    /// its requests elsewhere before the port is closed.
    pub(crate) async fn serve(
        &self,
        listener: TcpListener,
        app: Router,
        drain: Duration,
    ) -> io::Result<()> {
        let drained = self.after_drain(drain);
        let server = axum::serve(listener, app).with_graceful_shutdown(drained);
        let overdue = self.after_drain(drain + GRACE);
        tokio::select! {
            result = server.into_future() => result,
            () = overdue => {
                tracing::warn!("requests in progress did not end in time");
                Ok(())
            }
        }
    }

    fn after_drain(&self, delay: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut draining = self.draining.clone();
        async move {
            // An error means that the task for signals is gone, so no signal will come.
            let _ = draining.wait_for(|draining| *draining).await;
            tokio::time::sleep(delay).await;
        }
    }
}

/// [`Lifecycle::watch_signals`] starts it, and signals wake it. It ends with SIGTERM or SIGINT, or when the other
/// end of standard input is closed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    parent: Option<pipe::Receiver>,
    db: Database,
    draining: watch::Sender<bool>,
}

impl Signals {
    async fn run(self) {
        let Self {
            mut terminate,
            mut interrupt,
            mut hangup,
            mut parent,
            db,
            draining,
        } = self;
        // A rotation waits for the last user of the old credentials; the end must not wait for that.
        let renewals = async {
            while hangup.recv().await.is_some() {
                if let Err(error) = renew_credentials(&db).await {
                    tracing::error!(
                        error = error::chain(&*error),
                        "the old credentials stay in use"
                    );
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = end_of(&mut parent) => {}
            () = renewals => {}
        }
        tracing::info!("shutting down");
        draining.send_replace(true);
    }
}

/// Standard input, read without a thread that nothing could end.
fn pipe_of_standard_input() -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)
}

/// Resolves when nobody holds the other end of the pipe any more, for whatever reason.
async fn end_of(pipe: &mut Option<pipe::Receiver>) {
    let Some(pipe) = pipe else {
        return std::future::pending().await;
    };
    // Nobody writes into it.
    while let Ok(1..) = pipe.read(&mut [0; 64]).await {}
}

/// Reads user and password again, from the source of `[database.credentials]` or from the URL. `DATABASE_URL_FILE`
/// may name a file with the URL.
async fn renew_credentials(db: &Database) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if db.credentials().source != "static" {
        if let Refresh::Rotated(rotation) = db.refresh().await? {
            rotation.drained().await;
        }
        return Ok(());
    }
    let config = Config::load()?;
    let endpoint = config.pooled_url()?.endpoint();
    let password = endpoint.password.clone().unwrap_or_default();
    let rotation = db
        .rotate(Credentials::new(endpoint.user.clone(), password))
        .await?;
    tracing::info!(generation = rotation.generation(), "new credentials in use");
    rotation.drained().await;
    tracing::info!(
        generation = rotation.generation(),
        "no connection has the old credentials"
    );
    Ok(())
}

/// Milliseconds from the environment.
pub(crate) fn drain_from(variable: Option<String>) -> Result<Duration, String> {
    let milliseconds =
        variable
            .as_deref()
            .unwrap_or("1000")
            .parse()
            .map_err(|error: ParseIntError| {
                format!("LEDGER_DRAIN_MS: {error}, expected milliseconds")
            })?;
    Ok(Duration::from_millis(milliseconds))
}
