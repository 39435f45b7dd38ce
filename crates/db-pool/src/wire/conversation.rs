//! The conversation between a client and a server, as the wire conducts it: bytes in, bytes out.
//!
//! It does no input or output itself. `requests.rs` takes what the client sends, `replies.rs` what the
//! server sends; this file holds what both share: the order of answers, and the answers that the wire
//! gives itself.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::exchange::{Exchange, Expect};
use super::frame::Reading;
use super::message::{put_complete, put_error, put_ready};
use super::observe::{Observed, Request};
use super::requests::{SetUp, Span};
use super::rules::Steering;
use super::statements::Statements;
use super::transaction::Transaction;
use tokio_postgres::error::SqlState;

/// The state of one conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(super) observed: Arc<Observed>,
    pub(super) steering: Arc<Steering>,
    /// Login is over: before, bytes pass as they are.
    pub(super) ready: bool,
    /// The startup packet has gone out.
    pub(super) started: bool,

    /// What the client has sent of a request that is not whole yet, or that waits for BEGIN's answer.
    pub(super) inbox: Vec<u8>,
    /// The whole messages of that request.
    pub(super) frames: Vec<Span>,
    pub(super) scanned: usize,
    pub(super) set_up: SetUp,

    /// What is to be written to the server.
    pub(super) to_server: BytesMut,
    /// What is to be read by the client, behind what it reads straight off the socket.
    pub(super) to_client: BytesMut,

    pub(super) reading: Reading,
    /// A message of the server's that arrives in pieces and must be seen whole.
    pub(super) held: Vec<u8>,

    pub(super) plan: VecDeque<Expect>,
    pub(super) statements: Statements,
    pub(super) transaction: Transaction,
    /// The server's own status, as it said last.
    pub(super) status: u8,
    /// A held BEGIN has been sent and not been answered: nothing may follow it before.
    pub(super) begin_unanswered: bool,
    /// Something in this transaction changes how names resolve, until it ends.
    pub(super) resolution_borrowed: bool,
    /// Bind and Execute of the one exchange that may be repeated.
    pub(super) retained: Vec<u8>,
    /// The description that a Check is being told.
    pub(super) described: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(observed: Arc<Observed>, steering: Arc<Steering>) -> Self {
        Self {
            observed,
            steering,
            ready: false,
            started: false,
            inbox: Vec::new(),
            frames: Vec::new(),
            scanned: 0,
            set_up: SetUp::default(),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            reading: Reading::default(),
            held: Vec::new(),
            // The startup packet is answered by a ReadyForQuery as well.
            plan: VecDeque::from([Expect::Remote(Exchange::new(Request::Housekeeping))]),
            statements: Statements::new(0),
            transaction: Transaction::Plain,
            status: b'I',
            begin_unanswered: false,
            resolution_borrowed: false,
            retained: Vec::new(),
            described: Vec::new(),
        }
    }

    /// What waits to be written to the server.
    pub(crate) fn for_server(&mut self) -> &mut BytesMut {
        &mut self.to_server
    }

    /// What waits to be read by the client.
    pub(crate) fn for_client(&mut self) -> &mut BytesMut {
        &mut self.to_client
    }

    pub(crate) fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Notes a request that goes to the server.
    pub(super) fn expect(&mut self, exchange: Exchange) {
        self.observed.request_sent(exchange.request);
        self.begin_unanswered |= exchange.begins;
        self.plan.push_back(Expect::Remote(exchange));
    }

    /// Answers in the server's place, in turn.
    pub(super) fn answer(&mut self, messages: &[u8], becomes: Option<u8>) {
        let messages = messages.to_vec();
        self.plan.push_back(Expect::Local { messages, becomes });
        self.deliver_local();
    }

    /// Answers a command that the server is not asked to run.
    pub(super) fn answer_complete(&mut self, tag: &[u8], becomes: Option<u8>) {
        let mut messages = BytesMut::new();
        put_complete(&mut messages, tag);
        self.answer(&messages, becomes);
    }

    /// Answers a request with an error of our own.
    pub(super) fn answer_error(&mut self, code: &SqlState, message: &str) {
        let mut messages = BytesMut::new();
        put_error(&mut messages, code, message);
        self.answer(&messages, None);
    }

    /// Gives out the answers of our own whose turn it is.
    pub(super) fn deliver_local(&mut self) {
        while let Some(Expect::Local { .. }) = self.plan.front() {
            let Some(Expect::Local { messages, becomes }) = self.plan.pop_front() else {
                return;
            };
            if messages.first() == Some(&b'E') {
                let error = crate::server_error::ServerError::from_fields(&messages[5..]);
                self.observed.error_reported(error);
            }
            let status = becomes.unwrap_or_else(|| self.transaction.status(self.status));
            self.to_client.extend_from_slice(&messages);
            put_ready(&mut self.to_client, status);
            self.observed.answered_locally(status);
        }
    }
}
