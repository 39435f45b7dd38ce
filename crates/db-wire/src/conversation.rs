//! The conversation between a client and a server, as the wire conducts it: bytes in, bytes out.
//!
//! It does no input or output itself. [`login`] handles its beginning. [`requests`] takes what the client sends, and
//! [`simple`], [`extended`] and [`pipeline`] turn it into what the server gets. [`replies`] takes what the server
//! sends; [`outcome`], [`description`] and [`repeat`] learn from it. This file holds what they share: the state, the
//! order of answers, and the answers that the wire gives itself.

mod broken;
mod client_transaction;
mod committed;
mod copying;
mod description;
mod early_commit;
mod exchange;
mod extended;
mod forward;
mod head;
mod inbox;
mod leftovers;
mod login;
pub(crate) mod lost;
pub(crate) mod outcome;
mod pending;
mod pipeline;
mod refusal;
mod repeat;
pub(crate) mod replies;
pub(crate) mod requests;
mod simple;
mod startup;

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::conversation::client_transaction::ClientTransaction;
use crate::conversation::copying::Copying;
use crate::conversation::exchange::Exchange;
use crate::conversation::inbox::Inbox;
use crate::conversation::pending::Pending;
use crate::conversation::startup::{Phase, SetUp};
use crate::observed::Observed;
use crate::prepared::statement_cache::StatementCache;
use crate::prepared::texts::Texts;
use crate::protocol::frame::{Fate, HEADER, Reading};
use crate::protocol::message::{put_complete, put_error, put_ready};
use crate::protocol::outbox::{Outbox, empty};
use crate::request::Request;
use crate::rules::{Naming, Rules};
use crate::server_error::ServerError;
use crate::sql::reads::Reads;
use crate::sql::residue::Residue;
use crate::sql::tokens::Sql;
use crate::steering::Steering;
use crate::unsent_begin::Announced;

/// The state of one conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    observed: Arc<Observed>,
    steering: Arc<Steering>,
    phase: Phase,
    set_up: SetUp,

    inbox: Inbox,
    /// A Flush has already sent a part of the current request. The rest belongs to the same exchange.
    flushed: bool,
    copying: Copying,

    /// The bytes to write to the server.
    to_server: Outbox,
    /// The bytes for the client to read, after the bytes that it reads directly from the socket.
    to_client: Outbox,

    reading: Reading,
    /// A message from the server that arrives in pieces and that the wire must see whole.
    held: Vec<u8>,

    pending: Pending,
    statements: StatementCache,
    texts: Texts,
    transaction: ClientTransaction,
    /// The transaction status that the server reported last.
    status: u8,
    /// The value of `standard_conforming_strings` that the server reported last.
    conforming: bool,
    /// Something in this transaction changes what statements mean. The change ends with the transaction.
    meaning_borrowed: bool,
    /// The same for objects that plans do not follow.
    objects_borrowed: bool,
    /// The clock of the statement cache at the time when a statement first left something behind in the session.
    dirty_since: u64,
    /// What each text leaves behind that the client has prepared under a name and the cache does not keep. Texts that
    /// leave nothing are not listed.
    unkept: HashMap<Box<[u8]>, Residue>,
    /// Bind and Execute of the only exchange that may be repeated.
    retained: Vec<u8>,
    /// The description that the server is sending for a Check.
    described: Vec<u8>,
    /// The buffer in which the wire composes its own answers. It is empty in between.
    draft: Vec<u8>,
}

impl Conversation {
    pub(crate) fn new(observed: Arc<Observed>, steering: Arc<Steering>) -> Self {
        // The startup packet: the server answers it with a ReadyForQuery too.
        observed.request_sent(Request::Housekeeping);
        Self {
            observed,
            steering,
            phase: Phase::Startup,
            set_up: SetUp::default(),
            inbox: Inbox::default(),
            flushed: false,
            copying: Copying::No,
            to_server: Outbox::default(),
            to_client: Outbox::default(),
            reading: Reading::default(),
            held: Vec::new(),
            pending: Pending::new(Exchange::new(Request::Housekeeping)),
            statements: StatementCache::new(0, Naming::Named, false),
            texts: Texts::default(),
            transaction: ClientTransaction::Plain,
            status: b'I',
            conforming: true,
            meaning_borrowed: false,
            objects_borrowed: false,
            dirty_since: 0,
            unkept: HashMap::new(),
            retained: Vec::new(),
            described: Vec::new(),
            draft: Vec::new(),
        }
    }

    /// The bytes that wait to be written to the server.
    pub(crate) fn for_server(&mut self) -> &mut Outbox {
        &mut self.to_server
    }

    /// The bytes that wait to be read by the client.
    pub(crate) fn for_client(&mut self) -> &mut Outbox {
        &mut self.to_client
    }

    /// How much memory each buffer holds. These are the buffers that grow with what a client or a server sends.
    #[cfg(test)]
    pub(crate) fn buffers(&self) -> [usize; 3] {
        [
            self.inbox.capacity(),
            self.retained.capacity(),
            self.held.capacity(),
        ]
    }

    pub(crate) fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    pub(crate) fn steering(&self) -> &Steering {
        &self.steering
    }

    /// Notes a request that goes to the server.
    fn expect_answer(&mut self, exchange: Exchange) {
        self.observed.request_sent(exchange.request);
        self.pending.push(exchange);
    }

    /// Whether the server has answered everything that can change the transaction's status.
    fn is_settled(&self) -> bool {
        self.pending.is_settled(self.status)
    }

    /// Whether nothing can have run before the request that is sent now.
    fn is_untouched(&self) -> bool {
        self.status == b'I' && self.is_settled() && self.transaction == ClientTransaction::Plain
    }

    /// Whether a statement that reads in this way may run before the BEGIN that is held back.
    fn reads_alone(&self, rules: &Rules, reads: Reads) -> bool {
        reads == Reads::Alone
            && self.status == b'I'
            && self.transaction.lets_reads_go_alone(rules)
            // The holder may have changed the isolation level with a setting.
            && self.observed.residue() == Residue::Nothing
    }

    /// Whether the session behind this connection may serve another client in the next transaction.
    fn is_shared(&self) -> bool {
        self.steering
            .rules()
            .is_some_and(|rules| rules.shared_session)
    }

    /// A text, to be read as this server reads it.
    fn sql<'s>(&self, text: &'s [u8]) -> Sql<'s> {
        Sql {
            text,
            conforming: self.conforming,
        }
    }

    fn is_broken(&self) -> bool {
        matches!(self.transaction, ClientTransaction::Broken { .. })
    }

    fn is_committed(&self) -> bool {
        matches!(self.transaction, ClientTransaction::Committed { .. })
    }

    /// Applies what the client has announced since its last request.
    fn hear_announcement(&mut self) {
        match self.observed.take_announced() {
            Some(Announced::Begins(opening)) => self.transaction = ClientTransaction::Held(opening),
            Some(Announced::Ends) => self.transaction = ClientTransaction::Plain,
            None => {}
        }
    }

    fn tell_whether_begin_is_held(&self) {
        self.observed.begin_is_held(self.transaction.is_held());
    }

    /// Answers in the server's place, in the right order. `status` is given if it differs from the server's at that
    /// time.
    fn answer(&mut self, messages: &[u8], status: Option<u8>) {
        let status = status.or(self.transaction.status());
        if self.pending.is_empty() && !self.is_amid_message() {
            return self.tell_locally(messages, status);
        }
        self.pending.push_local(messages, status);
        self.deliver_local();
    }

    /// Answers with what the draft contains, and keeps its memory for the next answer.
    fn answer_draft(&mut self, mut messages: Vec<u8>, status: Option<u8>) {
        self.answer(&messages, status);
        empty(&mut messages);
        self.draft = messages;
    }

    /// Answers a command that the server is not asked to run.
    fn answer_complete(&mut self, tag: &[u8], status: Option<u8>) {
        let mut messages = std::mem::take(&mut self.draft);
        put_complete(&mut messages, tag);
        self.answer_draft(messages, status);
    }

    /// Answers a request with an error of the wire's own.
    fn answer_error(&mut self, code: &SqlState, message: &str) {
        let mut messages = Vec::new();
        put_error(&mut messages, code, message);
        self.answer(&messages, None);
    }

    /// Refuses a statement as the server would: in a transaction block, the whole transaction has failed.
    fn refuse(&mut self, message: &str) {
        if self.is_in_transaction() && self.is_settled() {
            let begun = self.status != b'I';
            self.transaction = ClientTransaction::Broken { begun };
        }
        self.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, message);
    }

    /// Whether the client believes that it is in a transaction block.
    fn is_in_transaction(&self) -> bool {
        self.transaction.status().unwrap_or(self.status) == b'T'
    }

    /// Delivers the wire's own answers whose turn it is. They overtake exchanges that the client is not told of. They
    /// never go into the middle of another message.
    fn deliver_local(&mut self) {
        if self.is_amid_message() {
            return;
        }
        while let Some((messages, status)) = self.pending.take_local() {
            self.tell_locally(&messages, status);
        }
    }

    /// Whether the client has received the beginning of a message from the server and not yet its end.
    fn is_amid_message(&self) -> bool {
        let Reading::Body { fate, .. } = self.reading else {
            return false;
        };
        fate == Fate::Pass
    }

    /// Gives the client one of the wire's own answers whose turn it is.
    fn tell_locally(&mut self, messages: &[u8], status: Option<u8>) {
        if messages.first() == Some(&b'E') {
            let error = ServerError::from_fields(&messages[HEADER..]);
            self.observed.error_reported(error);
        }
        let status = status.unwrap_or(self.status);
        let out = self.to_client.end();
        out.extend_from_slice(messages);
        put_ready(out, status);
        self.observed.answered_locally(status);
    }
}
