//! Following: listens to channels on a session beside the pool, as long as somebody reads the notifications.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{sleep_until, timeout};
use tokio_postgres::{AsyncMessage, SimpleQueryMessage};

use crate::beside::listener::{Gap, Heard, Listener, Notification};
use crate::beside::lone_session::LoneSession;
use crate::connect::backoff::{NotNow, Urge};
use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::error::PoolError;
use crate::profile::PoolerMode;
use crate::shared::Shared;
use crate::totals::Totals;

/// Begins to listen.
///
/// # Errors
///
/// [`PoolError::Channels`] if the server could not know the channels by these names.
pub(crate) fn listen(shared: &Arc<Shared>, channels: &[String]) -> Result<Listener, PoolError> {
    let statement = statement(channels).map_err(|problem| PoolError::Channels {
        pool: shared.name(),
        problem,
    })?;
    let (heard, unread) = mpsc::channel(MOST_UNREAD);
    let following = Following {
        shared: Arc::clone(shared),
        channels: channels.join(", "),
        statement,
        heard,
        gap: None,
    };
    shared.registry.spawn(following.run());
    Ok(Listener::new(unread, &shared.registry))
}

/// The background task of a listener.
///
/// [`listen`] starts it. The server, rotations and the reader wake it. It ends when the pool closes or the listener
/// is dropped.
struct Following {
    shared: Arc<Shared>,
    /// The channels, for the log.
    channels: String,
    /// LISTEN for each channel.
    statement: String,
    heard: mpsc::Sender<Result<Heard, PoolError>>,
    /// The gap that the reader has not been told of yet. Until then every notification belongs to that gap.
    gap: Option<Gap>,
}

impl Following {
    async fn run(mut self) {
        let closing = self.shared.registry.closing.clone();
        let unread = self.heard.clone();
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = unread.closed() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        self.gap = Some(Gap::Beginning);
        let mut refused = false;
        loop {
            match self.connect(refused).await {
                Ok(session) => {
                    refused = false;
                    self.hear(session).await;
                    // A first gap that nobody has read yet stays a first gap.
                    if self.gap != Some(Gap::Beginning) {
                        self.gap = Some(Gap::Reconnected);
                    }
                }
                Err(source) if source.is_permanent() => {
                    refused = true;
                    let pool = self.shared.name();
                    // A reader that comes too late for this gap finds the next one.
                    let _full = self
                        .heard
                        .try_send(Err(PoolError::Connect { pool, source }));
                }
                Err(_down) => refused = false,
            }
        }
    }

    /// Waits until the pool may try to connect, and tries once. After a permanent refusal, the attempts become less
    /// and less frequent.
    async fn connect(&self, refused: bool) -> Result<LoneSession, ConnectError> {
        let registry = &self.shared.registry;
        let urge = match refused {
            true => Urge::Keeper,
            false => Urge::Caller,
        };
        let listener = registry.changes.listen();
        let attempt = loop {
            let mut changed = pin!(listener.next());
            changed.as_mut().enable();
            match self.shared.backoff.begin(urge, || Some(())) {
                Ok((attempt, ())) => break attempt,
                Err(NotNow::Until(at)) => {
                    tokio::select! {
                        () = sleep_until(at) => {}
                        () = changed => {}
                    }
                }
                Err(NotNow::UntilChange) => changed.await,
            }
        };
        let opened = self.open().await;
        match &opened {
            Ok(session) => {
                attempt.succeeded();
                tracing::info!(target: "app_db::pool",
                    pool = &*registry.name,
                    channels = self.channels,
                    backend_pid = session.backend_pid(),
                    generation = session.generation(),
                    "listening"
                );
            }
            Err(error) => {
                Totals::count(&registry.totals.connect_failures);
                tracing::warn!(target: "app_db::pool", pool = &*registry.name, %error, "connecting failed");
                attempt.failed(error.clone());
            }
        }
        registry.changes.tell();
        opened
    }

    /// A session that listens to the channels.
    async fn open(&self) -> Result<LoneSession, ConnectError> {
        let shared = &self.shared;
        let mut session = LoneSession::open(shared).await?;
        let address = shared.registry.generations.current().endpoint.address();
        let beginning = async {
            let answer = session.ask("SELECT pg_catalog.pg_backend_pid()").await?;
            let is_server = process(&answer) == Some(session.backend_pid());
            if is_server || shared.profile.pooler == PoolerMode::Session {
                session.ask(&self.statement).await?;
                return Ok(true);
            }
            Ok(false)
        };
        match timeout(shared.profile.connect_timeout, beginning).await {
            Ok(Ok(true)) => Ok(session),
            Ok(Ok(false)) => Err(ConnectError::new(&address, ConnectFailure::Pooler)
                .explained("set DATABASE_URL_DIRECT to the URL of the server itself")),
            Ok(Err(error)) => Err(ConnectError::from_postgres(&address, &error)),
            Err(_elapsed) => Err(ConnectError::new(&address, ConnectFailure::TimedOut)
                .explained("LISTEN was not answered")),
        }
    }

    /// Passes notifications on, until the session has ended or its credentials have been replaced.
    async fn hear(&mut self, mut session: LoneSession) {
        let mut retired = pin!(session.retired());
        let unread = self.heard.clone();
        let cause = loop {
            tokio::select! {
                biased;
                () = &mut retired => break "its credentials have been replaced".to_owned(),
                room = unread.reserve(), if self.gap.is_some() => {
                    if let (Ok(room), Some(gap)) = (room, self.gap.take()) {
                        room.send(Ok(Heard::Gap(gap)));
                    }
                }
                said = session.next() => match said {
                    Some(Ok(AsyncMessage::Notification(notification))) => self.pass_on(&notification),
                    Some(Ok(_)) => {}
                    Some(Err(ended)) => break ended.to_string(),
                    None => break "the server has closed it".to_owned(),
                }
            }
        };
        tracing::info!(target: "app_db::pool",
            pool = &*self.shared.registry.name,
            channels = self.channels,
            cause,
            "listening is interrupted"
        );
    }

    fn pass_on(&mut self, notification: &tokio_postgres::Notification) {
        if self.gap.is_some() {
            return;
        }
        let heard = Heard::Notification(Notification::from(notification));
        if let Err(TrySendError::Full(_)) = self.heard.try_send(Ok(heard)) {
            self.gap = Some(Gap::Behind);
        }
    }
}

/// The process that has answered.
fn process(answer: &[SimpleQueryMessage]) -> Option<i32> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok()??.parse().ok(),
        _ => None,
    })
}

/// LISTEN for each channel, or what is wrong with their names.
fn statement(channels: &[String]) -> Result<String, String> {
    if channels.is_empty() {
        return Err("there is none; expected at least one".to_owned());
    }
    let mut statement = String::new();
    for channel in channels {
        let problem = match channel.len() {
            0 => Some("is empty"),
            // The server would shorten a longer name and listen to another channel.
            length if length > MOST_BYTES => Some("has more than 63 bytes"),
            _ => channel.contains('\0').then_some("has a zero byte"),
        };
        if let Some(problem) = problem {
            return Err(format!("the name {channel:?} {problem}"));
        }
        let quoted = channel.replace('"', "\"\"");
        statement.push_str(&format!("LISTEN \"{quoted}\";"));
    }
    Ok(statement)
}

/// How many notifications may wait to be read. If a listener took no more of them from the server, the server could
/// not clear its own queue, and would finally refuse every NOTIFY.
const MOST_UNREAD: usize = 16_384;

/// The longest name of a channel on the server, in bytes.
const MOST_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(channels: &[&str]) -> Result<String, String> {
        let channels: Vec<_> = channels.iter().map(|name| (*name).to_owned()).collect();
        statement(&channels)
    }

    #[test]
    fn channels_are_listened_to_by_their_exact_names() {
        assert_eq!(
            of(&["orders", "Say \"hi\"; DROP TABLE x"]).unwrap(),
            "LISTEN \"orders\";LISTEN \"Say \"\"hi\"\"; DROP TABLE x\";"
        );
        assert!(of(&[&"x".repeat(63)]).is_ok());
    }

    #[test]
    fn names_that_the_server_would_read_as_others_are_refused() {
        for (channels, problem) in [
            (vec![], "there is none; expected at least one".to_owned()),
            (vec!["orders", ""], "the name \"\" is empty".to_owned()),
            (
                vec!["a\0b"],
                "the name \"a\\0b\" has a zero byte".to_owned(),
            ),
            (
                vec![&*"ä".repeat(32)],
                format!("the name {:?} has more than 63 bytes", "ä".repeat(32)),
            ),
        ] {
            assert_eq!(of(&channels).unwrap_err(), problem);
        }
    }
}
