//! Exchanges: what each ReadyForQuery still to come will answer.

use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::error::SqlState;

use crate::command::Note;
use crate::prepared::statement_cache::StatementId;
use crate::request::Request;

/// One entry of the order in which a client is answered.
#[derive(Debug)]
pub(crate) enum Expect {
    /// The wire's own answer, all but its ReadyForQuery.
    Local {
        messages: Box<[u8]>,
        /// The status to be told with it; else the server's own.
        status: Option<u8>,
    },
    /// The server's answer, with what the wire has put into the request.
    Remote(Exchange),
}

impl Expect {
    /// Whether the client is not told of it.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::Remote(exchange) if exchange.silent)
    }

    /// Whether it leaves the transaction's status as it is known.
    pub(crate) fn is_settled(&self, status: u8) -> bool {
        match self {
            Self::Local { .. } => true,
            // Outside a transaction a Parse or Close changes nothing, whatever comes of it.
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
    /// What will come of the parts that the wire put in or listens to; the rest is the client's.
    pub(crate) parts: Vec<Part>,
    /// The client is not told of it: it has its answer already.
    pub(crate) silent: bool,
    /// How many characters the wire has put before the client's text: positions count from behind them.
    pub(crate) head: usize,
    /// It was sent by Execute and Sync, and not as a simple query.
    pub(crate) extended: bool,
    /// It begins the transaction that the client believes to be in.
    pub(crate) begins: bool,
    /// That BEGIN is what failed.
    pub(crate) begin_failed: bool,
    /// What must be put before the next statement depends on what comes of it.
    pub(crate) controls: bool,
    pub(crate) text: Option<Arc<[u8]>>,
    pub(crate) note: Option<Arc<Note>>,
    /// The statement that it prepares or runs, and whether it may be tried a second time.
    pub(crate) statement: Option<StatementId>,
    pub(crate) repeatable: bool,
    pub(crate) repeat: Repeat,
    pub(crate) changes_meaning: bool,
    /// It is the pool's reset of the session.
    pub(crate) resets: bool,
    /// It goes back to a savepoint, for which the server's answer is ROLLBACK too.
    pub(crate) partial_rollback: bool,
    /// The server describes the statement in another way than the client was told.
    pub(crate) mismatch: bool,
    /// What is described in another way is read rightly by a program that hears of it anew.
    pub(crate) read_anew: bool,
    /// Its rows have more values than the client was told of columns: so many of them are passed.
    pub(crate) narrow: Option<u16>,
    /// A query that changes nothing, as far as its text shows: lost in mid-answer, it has changed nothing.
    pub(crate) only_reads: bool,
    /// It reads outside the transaction that the client believes to be in, whose BEGIN is held back still.
    pub(crate) reads_alone: bool,
    pub(crate) failed: bool,
    /// An error that proves nothing before ReadyForQuery follows it.
    pub(crate) unproven: Option<Box<[u8]>>,
    /// The last error of it.
    pub(crate) sqlstate: Option<SqlState>,
    /// Something of the answer has gone to the client.
    pub(crate) passed: bool,
    pub(crate) committed: bool,
    /// COMMIT follows the client's statement in the same request.
    pub(crate) commits: bool,
    pub(crate) began: Instant,
    /// When the first of its rows came, or the server was ready for the client's.
    pub(crate) first_row: Option<Instant>,
    /// A command of it is completed, and its watcher has been told.
    pub(crate) told: bool,
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
    Check(StatementId),
    /// Describe of a portal by the wire, behind the client's Bind, to be compared likewise.
    CheckPortal(StatementId),
    /// A Parse of the wire's whose description does not matter.
    Parsed(StatementId),
    /// Parse and Describe of the client's, to be remembered.
    Learn(StatementId),
    /// The COMMIT behind the client's statement.
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
            resets: false,
            partial_rollback: false,
            mismatch: false,
            read_anew: false,
            narrow: None,
            only_reads: false,
            reads_alone: false,
            failed: false,
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

    /// One of the wire's commands is through; once that is BEGIN, a later failure is not BEGIN's.
    pub(crate) fn command_done(&mut self) {
        match self.parts.first_mut() {
            Some(Part::Commands { left, is_begin }) if *left > 1 => {
                *left -= 1;
                *is_begin = false;
            }
            _ => self.part_done(),
        }
    }

    /// The server skips what is left of the request.
    pub(crate) fn cut_short(&mut self) -> Vec<Part> {
        let parts = std::mem::take(&mut self.parts);
        self.begin_failed |= parts.iter().any(|part| part.is_begin());
        parts
    }
}
