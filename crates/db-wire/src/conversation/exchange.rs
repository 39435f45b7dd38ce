//! Exchanges: what each expected ReadyForQuery will answer.

use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::error::SqlState;

use crate::command::Note;
use crate::prepared::statement_cache::StatementId;
use crate::request::Request;

/// One entry of the order in which a client is answered.
#[derive(Debug)]
pub(crate) enum Expect {
    /// The wire's own answer, without its ReadyForQuery.
    Local {
        messages: Box<[u8]>,
        /// The status to tell with it. Without one, the wire tells the server's status.
        status: Option<u8>,
    },
    /// The server's answer, with the parts that the wire has added to the request.
    Remote(Exchange),
}

impl Expect {
    /// Whether the client is not told of it.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Remote(exchange) if exchange.silent)
    }

    /// Whether it cannot change the known transaction status.
    pub(crate) fn is_settled(&self, status: u8) -> bool {
        match self {
            Self::Local { .. } => true,
            // Outside a transaction a Parse or Close changes nothing, whether it succeeds or fails.
            Self::Remote(exchange) => {
                let idle = exchange.request == Request::Housekeeping && status == b'I';
                exchange.silent || (idle && !exchange.begins)
            }
        }
    }
}

/// One request that went to the server.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    /// The answers still to come to the parts that the wire has added or listens to. All other answers are
    /// the client's.
    pub(crate) parts: Vec<Part>,
    /// The client is not told of it, because it already has its answer.
    pub(crate) silent: bool,
    /// How many characters the wire has put before the client's text. Positions in errors must not count
    /// them.
    pub(crate) head: usize,
    /// It was sent by Execute and Sync, and not as a simple query.
    pub(crate) extended: bool,
    /// It begins the transaction that the client believes it is in.
    pub(crate) begins: bool,
    /// That BEGIN failed.
    pub(crate) begin_failed: bool,
    /// Its outcome decides what must be put before the next statement.
    pub(crate) controls: bool,
    pub(crate) text: Option<Arc<[u8]>>,
    pub(crate) note: Option<Arc<Note>>,
    /// The statement that it prepares or runs, and whether it may be tried a second time.
    pub(crate) statement: Option<StatementId>,
    pub(crate) repeatable: bool,
    pub(crate) repeat: Repeat,
    pub(crate) changes_meaning: bool,
    /// It has changed objects that the plans of prepared statements do not follow.
    pub(crate) changes_objects: bool,
    /// It is the pool's reset of the session.
    pub(crate) resets: bool,
    /// It goes back to a savepoint; the server answers this with ROLLBACK too.
    pub(crate) partial_rollback: bool,
    /// The server's description of the statement differs from what the client was told.
    pub(crate) mismatch: bool,
    /// A program that receives the new description can read the rows correctly.
    pub(crate) read_anew: bool,
    /// Its rows have more values than the columns that the client was told of. The wire passes only this many.
    pub(crate) narrow: Option<u16>,
    /// Its text shows that it changes nothing. If the connection is lost in the middle of the answer,
    /// nothing has changed.
    pub(crate) only_reads: bool,
    /// It reads outside the transaction that the client believes it is in, because that BEGIN is still
    /// held back.
    pub(crate) reads_alone: bool,
    pub(crate) failed: bool,
    /// A FATAL has ended the connection.
    pub(crate) ended: bool,
    /// An error that proves nothing until ReadyForQuery follows it.
    pub(crate) unproven: Option<Box<[u8]>>,
    /// Its last error.
    pub(crate) sqlstate: Option<SqlState>,
    /// A part of the answer has already gone to the client.
    pub(crate) passed: bool,
    pub(crate) committed: bool,
    /// COMMIT follows the client's statement in the same request.
    pub(crate) commits: bool,
    pub(crate) began: Instant,
    /// When its first row came, or when the server was ready for the client's rows.
    pub(crate) first_row: Option<Instant>,
    /// One of its commands is complete, and the watcher has been told.
    pub(crate) told: bool,
}

/// How far the second try of a statement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    No,
    /// The server refused the old plan; nothing ran.
    Wanted,
    /// The statement is being prepared again.
    Preparing,
    /// It runs for the second time. There is no third time.
    Running,
}

/// The server's answer to one part of a request that the wire has added or watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A statement of the wire: everything up to its CommandComplete.
    Statement { is_begin: bool },
    /// Commands of the wire at the head of a simple query: how many are left, and whether BEGIN is among
    /// them.
    Commands { left: u8, is_begin: bool },
    /// A Close that the wire sent.
    Close,
    /// Parse and Describe that the wire sent, to compare the answer with what the client was told.
    Check(StatementId),
    /// Describe of a portal that the wire put after the client's Bind, for the same comparison.
    CheckPortal(StatementId),
    /// A Parse that the wire sent and whose description does not matter.
    Parsed(StatementId),
    /// Parse and Describe that the client sent, to be remembered.
    Learn(StatementId),
    /// The COMMIT after the client's statement.
    Commit,
}

impl Part {
    fn is_begin(self) -> bool {
        matches!(
            self,
            Self::Statement { is_begin: true } | Self::Commands { is_begin: true, .. }
        )
    }
}

impl Exchange {
    pub(crate) fn new(request: Request) -> Self {
        Self {
            request,
            parts: Vec::new(),
            silent: false,
            head: 0,
            extended: false,
            begins: false,
            begin_failed: false,
            controls: false,
            text: None,
            note: None,
            statement: None,
            repeatable: false,
            repeat: Repeat::No,
            changes_meaning: false,
            changes_objects: false,
            resets: false,
            partial_rollback: false,
            mismatch: false,
            read_anew: false,
            narrow: None,
            only_reads: false,
            reads_alone: false,
            failed: false,
            ended: false,
            unproven: None,
            sqlstate: None,
            passed: false,
            committed: false,
            commits: false,
            began: Instant::now(),
            first_row: None,
            told: false,
        }
    }

    /// Whether nothing may be sent before it is over.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.begins || self.controls || self.commits || self.repeat != Repeat::No
    }

    /// The part that the next message belongs to.
    pub(crate) fn part(&self) -> Option<Part> {
        self.parts.first().copied()
    }

    pub(crate) fn part_done(&mut self) {
        if !self.parts.is_empty() {
            self.parts.remove(0);
        }
    }

    /// One of the wire's commands is complete. Once BEGIN is, a later failure cannot come from it.
    pub(crate) fn command_done(&mut self) {
        match self.parts.first_mut() {
            Some(Part::Commands { left, is_begin }) if *left > 1 => {
                *left -= 1;
                *is_begin = false;
            }
            _ => self.part_done(),
        }
    }

    /// Ends the exchange early, and returns the parts that the server has not answered.
    pub(crate) fn cut_short(&mut self) -> Vec<Part> {
        let parts = std::mem::take(&mut self.parts);
        self.begin_failed |= parts.iter().any(|part| part.is_begin());
        parts
    }
}
