//! The order in which a client is answered.

use std::collections::VecDeque;

use crate::conversation::exchange::{Exchange, Expect};

/// What each expected ReadyForQuery will answer, and the wire's own answers between them.
#[derive(Debug, Default)]
pub(crate) struct Pending(VecDeque<Expect>);

impl Pending {
    /// A queue that begins with this exchange.
    pub(crate) fn new(first: Exchange) -> Self {
        Self(VecDeque::from([Expect::Remote(first)]))
    }

    /// Notes a request that went to the server.
    pub(crate) fn push(&mut self, exchange: Exchange) {
        self.0.push_back(Expect::Remote(exchange));
    }

    /// Notes an answer that the wire gives in the server's place when its turn comes.
    pub(crate) fn push_local(&mut self, messages: &[u8], status: Option<u8>) {
        self.0.push_back(Expect::Local {
            messages: messages.into(),
            status,
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nothing may be sent until the server has answered more, because an exchange begins a transaction or is
    /// run again.
    pub(crate) fn must_wait(&self) -> bool {
        self.exchanges().any(Exchange::is_waited_for)
    }

    /// Whether the server has answered everything that can change the transaction's status.
    pub(crate) fn is_settled(&self, status: u8) -> bool {
        self.0.iter().all(|expected| expected.is_settled(status))
    }

    /// Whether a query that ran before the BEGIN of its transaction is still unanswered. Until it has succeeded, only
    /// queries of the same kind may follow.
    pub(crate) fn has_lone_read(&self) -> bool {
        self.exchanges().any(|exchange| exchange.reads_alone)
    }

    /// Whether nothing was sent after the exchange that is being answered.
    pub(crate) fn is_answering_the_last(&self) -> bool {
        self.exchanges().count() == 1
    }

    /// The exchange that the server is answering now, if the server has the turn.
    pub(crate) fn answered(&self) -> Option<&Exchange> {
        match self.0.front() {
            Some(Expect::Remote(exchange)) => Some(exchange),
            _ => None,
        }
    }

    pub(crate) fn answered_mut(&mut self) -> Option<&mut Exchange> {
        match self.0.front_mut() {
            Some(Expect::Remote(exchange)) => Some(exchange),
            _ => None,
        }
    }

    /// Takes that exchange out.
    pub(crate) fn take_answered(&mut self) -> Option<Exchange> {
        match self.0.pop_front() {
            Some(Expect::Remote(exchange)) => Some(exchange),
            Some(local) => {
                self.0.push_front(local);
                None
            }
            None => None,
        }
    }

    /// Puts it back, because its answer is not complete.
    pub(crate) fn put_back(&mut self, exchange: Exchange) {
        self.0.push_front(Expect::Remote(exchange));
    }

    /// The first exchange that the client is told of, unless one of the wire's own answers comes before it.
    pub(crate) fn told_next_mut(&mut self) -> Option<&mut Exchange> {
        match self.0.iter_mut().find(|expected| !expected.is_silent()) {
            Some(Expect::Remote(exchange)) => Some(exchange),
            _ => None,
        }
    }

    /// The wire's next own answer, if its turn has come. It may overtake exchanges that the client is not told of.
    pub(crate) fn take_local(&mut self) -> Option<(Box<[u8]>, Option<u8>)> {
        let turn = self.0.iter().position(|expected| !expected.is_silent())?;
        if let Some(Expect::Remote(_)) = self.0.get(turn) {
            return None;
        }
        match self.0.remove(turn) {
            Some(Expect::Local { messages, status }) => Some((messages, status)),
            _ => None,
        }
    }

    fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.0.iter().filter_map(|expected| match expected {
            Expect::Remote(exchange) => Some(exchange),
            Expect::Local { .. } => None,
        })
    }
}
