//! The conversation between a client and a server, as the wire conducts it: bytes in, bytes out.
//!
//! It does no input or output itself. `login.rs` has its beginning; `requests.rs` takes what the client
//! sends, which `simple.rs` and `extended.rs` turn into what the server gets; `replies.rs` takes what the
//! server sends, with `outcome.rs`, `description.rs` and `repeat.rs` for what is learnt from it. This
//! file holds what they share: the order of answers, and the answers that the wire gives itself.

mod description;
mod exchange;
mod extended;
mod leftovers;
mod login;
mod lost;
mod outcome;
mod repeat;
mod replies;
mod requests;
mod simple;
mod transaction;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::conversation::exchange::{Exchange, Expect};
use crate::conversation::login::{Phase, SetUp};
use crate::conversation::requests::{Copying, Span};
use crate::conversation::transaction::Transaction;
use crate::observed::{Observed, Request};
use crate::prepared::statements::Statements;
use crate::prepared::texts::Texts;
use crate::protocol::frame::{Fate, HEADER, Reading};
use crate::protocol::message::{put_complete, put_error, put_ready};
use crate::protocol::outbox::{Outbox, empty};
use crate::rules::Naming;
use crate::sql::residue::Residue;
use crate::steering::Steering;

/// The state of one conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(super) observed: Arc<Observed>,
    pub(super) steering: Arc<Steering>,
    pub(super) phase: Phase,
    pub(super) set_up: SetUp,

    /// What the client has sent of a request that is not whole yet, or that has to wait.
    pub(super) inbox: Vec<u8>,
    /// The whole messages of that request.
    pub(super) frames: Vec<Span>,
    pub(super) scanned: usize,
    /// A part of the current request has gone out with a Flush: the rest belongs to the same exchange.
    pub(super) flushed: bool,
    pub(super) copying: Copying,
    /// Nothing may follow before the last exchange is answered: it begins a transaction, or is run again.
    pub(super) must_wait: bool,

    /// What is to be written to the server.
    pub(super) to_server: Outbox,
    /// What is to be read by the client, behind what it reads straight off the socket.
    pub(super) to_client: Outbox,

    pub(super) reading: Reading,
    /// A message of the server's that arrives in pieces and must be seen whole.
    pub(super) held: Vec<u8>,

    pub(super) plan: VecDeque<Expect>,
    pub(super) statements: Statements,
    pub(super) texts: Texts,
    pub(super) transaction: Transaction,
    /// The server's own status, as it said last.
    pub(super) status: u8,
    /// Something in this transaction changes how names resolve, until it ends.
    pub(super) resolution_borrowed: bool,
    /// How far the statements had come when something was first left behind in the session.
    pub(super) dirty_since: u64,
    /// What the texts leave behind that are prepared under a name but not kept, those that do.
    pub(super) unkept: HashMap<Box<[u8]>, Residue>,
    /// Bind and Execute of the one exchange that may be repeated.
    pub(super) retained: Vec<u8>,
    /// The description that a Check is being told.
    pub(super) described: Vec<u8>,
    /// Empty but for a moment: where an answer of our own is put together.
    pub(super) draft: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(observed: Arc<Observed>, steering: Arc<Steering>) -> Self {
        Self {
            observed,
            steering,
            phase: Phase::Startup,
            set_up: SetUp::default(),
            inbox: Vec::new(),
            frames: Vec::new(),
            scanned: 0,
            flushed: false,
            copying: Copying::No,
            must_wait: false,
            to_server: Outbox::default(),
            to_client: Outbox::default(),
            reading: Reading::default(),
            held: Vec::new(),
            // The startup packet is answered by a ReadyForQuery as well.
            plan: VecDeque::from([Expect::Remote(Exchange::new(Request::Housekeeping))]),
            statements: Statements::new(0, Naming::Named),
            texts: Texts::default(),
            transaction: Transaction::Plain,
            status: b'I',
            resolution_borrowed: false,
            dirty_since: 0,
            unkept: HashMap::new(),
            retained: Vec::new(),
            described: Vec::new(),
            draft: Vec::new(),
        }
    }

    /// What waits to be written to the server.
    pub(crate) fn for_server(&mut self) -> &mut Outbox {
        &mut self.to_server
    }

    /// What waits to be read by the client.
    pub(crate) fn for_client(&mut self) -> &mut Outbox {
        &mut self.to_client
    }

    pub(crate) fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Notes a request that goes to the server.
    pub(super) fn plan_answer(&mut self, exchange: Exchange) {
        self.observed.request_sent(exchange.request);
        self.must_wait |= exchange.is_waited_for();
        self.plan.push_back(Expect::Remote(exchange));
    }

    /// Whether the server has answered everything that can change the transaction's status.
    pub(super) fn is_settled(&self) -> bool {
        self.plan
            .iter()
            .all(|expected| expected.is_settled(self.status))
    }

    /// Answers in the server's place, in turn; with a status where it is not the server's at that time.
    pub(super) fn answer(&mut self, messages: &[u8], status: Option<u8>) {
        let status = status.or(self.transaction.status());
        if self.plan.is_empty() && !self.is_amid_message() {
            return self.tell_locally(messages, status);
        }
        self.plan.push_back(Expect::Local {
            messages: messages.into(),
            status,
        });
        self.deliver_local();
    }

    /// Answers with what has been put together in the draft, and keeps its memory for the next one.
    pub(super) fn answer_draft(&mut self, mut messages: Vec<u8>, status: Option<u8>) {
        self.answer(&messages, status);
        empty(&mut messages);
        self.draft = messages;
    }

    /// Answers a command that the server is not asked to run.
    pub(super) fn answer_complete(&mut self, tag: &[u8], status: Option<u8>) {
        let mut messages = std::mem::take(&mut self.draft);
        put_complete(&mut messages, tag);
        self.answer_draft(messages, status);
    }

    /// Answers a request with an error of our own.
    pub(super) fn answer_error(&mut self, code: &SqlState, message: &str) {
        let mut messages = Vec::new();
        put_error(&mut messages, code, message);
        self.answer(&messages, None);
    }

    /// Gives out the answers of our own whose turn it is. What the client is not told of they pass by;
    /// into the middle of another message they do not go.
    pub(super) fn deliver_local(&mut self) {
        if self.is_amid_message() {
            return;
        }
        if let Some(Expect::Remote(exchange)) = self.plan.front()
            && !exchange.silent
        {
            return;
        }
        while let Some(turn) = self.plan.iter().position(|expected| !expected.is_silent()) {
            if let Some(Expect::Remote(_)) = self.plan.get(turn) {
                return;
            }
            let Some(Expect::Local { messages, status }) = self.plan.remove(turn) else {
                return;
            };
            self.tell_locally(&messages, status);
        }
    }

    /// Whether the client has got the beginning of a message of the server's and not yet its end.
    fn is_amid_message(&self) -> bool {
        let Reading::Body { fate, .. } = self.reading else {
            return false;
        };
        fate == Fate::Pass
    }

    /// Gives the client an answer of our own whose turn it is.
    fn tell_locally(&mut self, messages: &[u8], status: Option<u8>) {
        if messages.first() == Some(&b'E') {
            let error = crate::server_error::ServerError::from_fields(&messages[HEADER..]);
            self.observed.error_reported(error);
        }
        let status = status.unwrap_or(self.status);
        let out = self.to_client.end();
        out.extend_from_slice(messages);
        put_ready(out, status);
        self.observed.answered_locally(status);
    }
}
