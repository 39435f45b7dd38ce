//! Exchanges: what each ReadyForQuery still to come will answer.

use std::sync::Arc;
use std::time::Instant;

use super::observe::Request;
use super::statements::Id;

/// One entry of the order in which a client is answered.
#[derive(Debug)]
pub(crate) enum Expect {
    /// The wire's own answer, all but its ReadyForQuery.
    Local {
        messages: Vec<u8>,
        becomes: Option<u8>,
    },
    /// The server's answer, with what the wire has put into the request.
    Remote(Exchange),
}

/// One request that went to the server.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    /// What will come of the parts that the wire put in or listens to; the rest is the client's.
    pub(crate) parts: Vec<Part>,
    /// The client is not told of it: it has its answer already.
    pub(crate) silent: bool,
    /// It begins the transaction that the client believes to be in.
    pub(crate) begins: bool,
    /// That BEGIN is what failed.
    pub(crate) begin_failed: bool,
    pub(crate) text: Option<Arc<[u8]>>,
    /// The statement that its Bind runs, and whether its request is kept for a second try.
    pub(crate) statement: Option<Id>,
    pub(crate) repeatable: bool,
    pub(crate) repeat: Repeat,
    pub(crate) touches_resolution: bool,
    /// The server describes the statement in another way than the client was told.
    pub(crate) mismatch: bool,
    pub(crate) failed: bool,
    /// Something of the answer has gone to the client.
    pub(crate) passed: bool,
    pub(crate) committed: bool,
    pub(crate) began: Instant,
}

/// How far the second try of a statement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    No,
    /// The server refused the old plan; nothing ran.
    Wanted,
    /// The statement is being prepared anew.
    Preparing,
    /// It runs for the second time; a third there is not.
    Running,
}

/// What the server answers to one thing in a request that is not the client's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A statement of the wire's: everything up to its CommandComplete.
    Statement { is_begin: bool },
    /// As many commands of the wire's at the head of a simple query, BEGIN among them or not.
    Commands { left: u8, is_begin: bool },
    /// A Close of the wire's.
    Close,
    /// Parse and Describe of the wire's, to be compared with what the client was told.
    Check(Id),
    /// Parse and Describe of the client's, to be remembered.
    Learn(Id),
}

impl Exchange {
    pub(crate) fn new(request: Request) -> Self {
        Self {
            request,
            parts: Vec::new(),
            silent: false,
            begins: false,
            begin_failed: false,
            text: None,
            statement: None,
            repeatable: false,
            repeat: Repeat::No,
            touches_resolution: false,
            mismatch: false,
            failed: false,
            passed: false,
            committed: false,
            began: Instant::now(),
        }
    }

    /// The part that the next message belongs to.
    pub(crate) fn part(&mut self) -> Option<&mut Part> {
        self.parts.first_mut()
    }

    pub(crate) fn part_done(&mut self) {
        if !self.parts.is_empty() {
            self.parts.remove(0);
        }
    }
}
