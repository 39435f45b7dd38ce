//! The prober: finds out whether the server answers when no idle connection of the pool can tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::beside::lone_session::LoneSession;
use crate::connect::connect_error::{ConnectError, ConnectFailure};
use crate::shared::{Question, Shared};

/// Asks for a sign of life on a session beside the pool. The receiver gets the answer when there is one.
///
/// The session is kept for the next question, so that a full pool costs only one login.
pub(crate) fn ask(shared: &Arc<Shared>) -> oneshot::Receiver<Result<(), ConnectError>> {
    let (question, answer) = oneshot::channel();
    let questions = shared.questions.get_or_init(|| {
        let (sender, questions) = mpsc::unbounded_channel();
        let prober = Prober {
            shared: Arc::clone(shared),
            questions,
            session: None,
        };
        shared.registry.spawn(prober.run());
        sender
    });
    // If the pool is closed, no answer comes.
    let _closed = questions.send(question);
    answer
}

/// The background task that answers probes; one for each pool that was ever probed.
///
/// The first question starts it. Questions wake it, and so do rotations, which end its session. It ends when the
/// pool closes.
struct Prober {
    shared: Arc<Shared>,
    questions: mpsc::UnboundedReceiver<Question>,
    session: Option<LoneSession>,
}

impl Prober {
    async fn run(mut self) {
        let closing = self.shared.registry.closing.clone();
        let _closed = closing.run_until_cancelled(self.answer_all()).await;
    }

    async fn answer_all(&mut self) {
        loop {
            let first = tokio::select! {
                question = self.questions.recv() => question,
                () = unneeded(&mut self.session) => {
                    self.session = None;
                    continue;
                }
            };
            let Some(first) = first else { return };
            // Questions that arrived while another one was being answered share one answer.
            let mut asked = vec![first];
            while let Ok(another) = self.questions.try_recv() {
                asked.push(another);
            }
            let answer = self.find_out().await;
            for question in asked {
                let _given_up = question.send(answer.clone());
            }
        }
    }

    /// Gets one sign of life. A session that has ended since the last question is replaced with a new one.
    async fn find_out(&mut self) -> Result<(), ConnectError> {
        if let Some(mut session) = self.session.take()
            && is_answered(&self.shared, &mut session).await?
        {
            self.session = Some(session);
            return Ok(());
        }
        let mut session = LoneSession::open(&self.shared).await?;
        // A pooler accepts logins even if its server is down.
        if is_answered(&self.shared, &mut session).await? {
            self.session = Some(session);
            return Ok(());
        }
        Err(failure(&self.shared, ConnectFailure::Unreachable))
    }
}

/// Whether the session answers: `false` if the session has ended, an error if it is silent.
async fn is_answered(shared: &Shared, session: &mut LoneSession) -> Result<bool, ConnectError> {
    match timeout(shared.profile.validation_timeout, session.ask("")).await {
        Ok(answer) => Ok(answer.is_ok()),
        Err(_elapsed) => Err(failure(shared, ConnectFailure::TimedOut)),
    }
}

fn failure(shared: &Shared, failure: ConnectFailure) -> ConnectError {
    let generation = shared.registry.generations.current();
    ConnectError::new(&generation.endpoint.address(), failure)
}

/// Resolves when the session must end: nobody has asked for a long time, its credentials have been replaced, or the
/// server has ended it.
async fn unneeded(session: &mut Option<LoneSession>) {
    let Some(session) = session else {
        return std::future::pending().await;
    };
    let retired = session.retired();
    tokio::select! {
        () = retired => {}
        () = async { while let Some(Ok(_)) = session.next().await {} } => {}
        () = sleep(KEPT) => {}
    }
}

/// How long the prober keeps its session without a question. Orchestrators ask every few seconds.
const KEPT: Duration = Duration::from_secs(60);
