//! An outbox: the alerts that still have to go to one sink, and the task that sends them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::alerts::alert::Alert;
use crate::alerts::sinks::Sink;

/// What has been sent to one sink and what has not. Putting an alert in never waits.
#[derive(Debug)]
pub(crate) struct Outbox {
    sink: Sink,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    alerts: VecDeque<(u64, Arc<Alert>)>,
    numbered: u64,
    sent: u64,
    dropped: u64,
    failed: u64,
    last_failure: Option<String>,
}

/// How the delivery to one sink goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutboxStatus {
    /// What kind of sink it is: `slack`, `webhook` or `mail`.
    pub sink: &'static str,
    /// Alerts that still have to be sent.
    pub queued: usize,
    /// Alerts that were sent.
    pub sent: u64,
    /// Alerts that were dropped because newer ones came while a hundred were waiting.
    pub dropped: u64,
    /// Attempts that failed. Each one is repeated.
    pub failed: u64,
    /// Why the last attempt failed, until one succeeds.
    pub last_failure: Option<String>,
}

impl Outbox {
    pub(crate) fn new(sink: Sink) -> Arc<Self> {
        Arc::new(Self {
            sink,
            queue: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Puts an alert in, if the sink wants alerts of its kind. If the outbox is full, the oldest alert makes room.
    pub(crate) fn put(&self, alert: &Arc<Alert>) {
        if !self.sink.wants(alert) {
            return;
        }
        let mut queue = self.lock();
        if queue.alerts.len() >= MOST {
            queue.alerts.pop_front();
            queue.dropped += 1;
        }
        queue.numbered += 1;
        let number = queue.numbered;
        queue.alerts.push_back((number, Arc::clone(alert)));
        drop(queue);
        self.changed.notify_one();
    }

    pub(crate) fn status(&self) -> OutboxStatus {
        let queue = self.lock();
        OutboxStatus {
            sink: self.sink.kind(),
            queued: queue.alerts.len(),
            sent: queue.sent,
            dropped: queue.dropped,
            failed: queue.failed,
            last_failure: queue.last_failure.clone(),
        }
    }

    fn first(&self) -> Option<(u64, Arc<Alert>)> {
        self.lock().alerts.front().cloned()
    }

    /// Notes that an alert was sent. It may have been dropped meanwhile.
    fn sent(&self, number: u64) {
        let mut queue = self.lock();
        queue.alerts.retain(|(queued, _)| *queued != number);
        queue.sent += 1;
        if queue.last_failure.take().is_some() {
            tracing::info!(target: "app_db::alert", sink = self.sink.kind(), "alerts are sent again");
        }
    }

    /// Notes that an alert could not be sent. That is logged once, and is no alert itself.
    fn failed(&self, reason: String) {
        let mut queue = self.lock();
        queue.failed += 1;
        let is_new = queue.last_failure.is_none();
        if is_new {
            tracing::warn!(
                target: "app_db::alert",
                sink = self.sink.kind(),
                reason,
                "an alert could not be sent and is tried again"
            );
        }
        queue.last_failure = Some(reason);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The background task of an outbox.
///
/// Started with the operations, woken by an alert, ended together with the operations. Alerts that are not sent by
/// then are lost.
pub(crate) struct Delivery {
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) stop: CancellationToken,
}

impl Delivery {
    pub(crate) async fn run(self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = deliver(&self.outbox) => {}
        }
    }
}

async fn deliver(outbox: &Outbox) {
    let mut delay = FIRST_DELAY;
    let mut not_before = Instant::now();
    loop {
        let Some((number, alert)) = outbox.first() else {
            outbox.changed.notified().await;
            continue;
        };
        sleep_until(not_before).await;
        let sent = timeout(PATIENCE, outbox.sink.send(&alert)).await;
        let failure = match sent {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some((failure.reason, failure.retry_after)),
            Err(_elapsed) => Some((format!("no answer within {PATIENCE:?}"), None)),
        };
        let pause = match failure {
            None => {
                outbox.sent(number);
                delay = FIRST_DELAY;
                outbox.sink.pause()
            }
            Some((reason, retry_after)) => {
                outbox.failed(reason);
                let pause = retry_after.unwrap_or(delay).min(LONGEST_DELAY);
                delay = (delay * 2).min(LONGEST_DELAY);
                pause
            }
        };
        not_before = Instant::now() + pause;
    }
}

/// The maximum of alerts that wait for one sink.
const MOST: usize = 100;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(300);
