//! A session beside the connections of a pool: nobody checks it out, and it has no slot.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, SimpleQueryMessage};

use crate::backend::closing::CLOSE_TIMEOUT;
use crate::backend::closing::await_end;
use crate::connect::connect_error::ConnectError;
use crate::connect::connector::HandBack;
use crate::connect::opened::Messages;
use crate::generation::Member;
use crate::logins::LoginPermit;
use crate::registry::Registry;
use crate::shared::Shared;

/// A session beside the connections of a pool.
///
/// It counts in its generation until the server has closed it, so a rotation has drained only then. It makes
/// progress only while one of its futures is polled. Dropping it ends it in the background.
pub(crate) struct LoneSession {
    /// Taken only when the session is dropped.
    parts: Option<Parts>,
    backend_pid: i32,
}

struct Parts {
    client: Client,
    messages: Messages,
    hand_back: HandBack,
    place: Place,
}

/// The counts that it is part of, from before it is made until the server has closed it.
struct Place {
    member: Member,
    registry: Arc<Registry>,
}

impl LoneSession {
    /// Logs in with the current credentials, within the connect timeout.
    ///
    /// If the server refuses all known credentials, this does not log in. If their owner is looking for others, it
    /// waits for them.
    pub(crate) async fn open(shared: &Shared) -> Result<Self, ConnectError> {
        let mut permit = permit(&shared.registry).await?;
        permit.ready().await;
        let place = Place::take(&shared.registry);
        let opened = shared.dialler.open(place.member.generation()).await;
        let (opened, link) = opened.inspect_err(|error| permit.failed(error))?;
        let (client, messages) = opened.messages();
        Ok(Self {
            backend_pid: link.observed.backend_pid(),
            parts: Some(Parts {
                client,
                messages,
                hand_back: link.hand_back,
                place,
            }),
        })
    }

    /// The process id that the server, or the pooler in its place, gave at login.
    pub(crate) fn backend_pid(&self) -> i32 {
        self.backend_pid
    }

    /// The number of the generation of credentials that it was made with.
    pub(crate) fn generation(&self) -> u64 {
        self.parts().place.member.generation().number
    }

    /// Resolves once its credentials have been replaced.
    pub(crate) fn retired(&self) -> impl Future<Output = ()> + Send + use<> {
        self.parts().place.member.generation().retired()
    }

    /// Runs statements and returns their rows. Drops the server's unsolicited messages meanwhile.
    pub(crate) async fn ask(
        &mut self,
        sql: &str,
    ) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        let Parts {
            client, messages, ..
        } = self.parts_mut();
        let mut asking = pin!(client.simple_query(sql));
        loop {
            tokio::select! {
                biased;
                answer = &mut asking => return answer,
                said = messages.next() => match said {
                    Some(Ok(_)) => {}
                    Some(Err(ended)) => return Err(ended),
                    None => return asking.await,
                }
            }
        }
    }

    /// The server's next unsolicited message; `None` when the server has ended the session.
    pub(crate) async fn next(&mut self) -> Option<Result<AsyncMessage, tokio_postgres::Error>> {
        self.parts_mut().messages.next().await
    }

    #[expect(clippy::expect_used, reason = "taken in `drop` alone")]
    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("there until the drop")
    }

    #[expect(clippy::expect_used, reason = "taken in `drop` alone")]
    fn parts_mut(&mut self) -> &mut Parts {
        self.parts.as_mut().expect("there until the drop")
    }
}

/// Waits until the session may log in, or says why it may not.
async fn permit(registry: &Registry) -> Result<LoginPermit, ConnectError> {
    let logins = registry.logins.as_ref();
    let listener = registry.changes.listen();
    loop {
        let mut changed = pin!(listener.next());
        changed.as_mut().enable();
        if let Some(permit) = LoginPermit::take(logins) {
            return Ok(permit);
        }
        if let Some(why) = logins.and_then(|logins| logins.refusal()) {
            return Err(why);
        }
        changed.await;
    }
}

impl Place {
    fn take(registry: &Arc<Registry>) -> Self {
        registry.beside.fetch_add(1, Ordering::AcqRel);
        Self {
            member: registry.generations.join(),
            registry: Arc::clone(registry),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.beside.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for LoneSession {
    fn drop(&mut self) {
        let Some(Parts {
            client,
            messages,
            hand_back,
            place,
        }) = self.parts.take()
        else {
            return;
        };
        let registry = Arc::clone(&place.registry);
        registry.spawn(async move {
            // This ends the stream under them, which then hands back its transport.
            drop((client, messages));
            let _in_time = timeout(CLOSE_TIMEOUT, await_end(hand_back)).await;
            drop(place);
        });
    }
}
