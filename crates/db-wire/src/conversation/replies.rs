//! The server's answers: which parts the client gets, and when an exchange is over.

use std::ops::Range;
use std::time::Instant;

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::client_transaction::ClientTransaction;
use crate::conversation::copying::Copying;
use crate::conversation::description::{described, narrowed};
use crate::conversation::early_commit::commit_is_over;
use crate::conversation::exchange::{Exchange, Part};
use crate::conversation::leftovers::session_was_reset;
use crate::conversation::outcome::{completed, error, tell_failure};
use crate::conversation::repeat::repeats;
use crate::conversation::requests::take_requests;
use crate::conversation::startup::Phase;
use crate::protocol::frame::{BadLength, Fate, HEADER, MAX_HELD, Reading, announced};
use crate::protocol::message::{put, put_error, put_ready};
use crate::protocol::outbox::empty;
use crate::server_error::ServerError;

/// The bytes just read from the transport. The first part of the buffer is kept for the client.
struct Fresh<'f> {
    bytes: &'f mut [u8],
    read: usize,
    kept: usize,
}

impl Fresh<'_> {
    /// The next `count` bytes, or all bytes if there are fewer.
    fn next(&mut self, count: usize) -> Range<usize> {
        let start = self.read;
        self.read += count.min(self.bytes.len() - start);
        start..self.read
    }
}

/// Handles in place what the server has written. Moves the client's bytes together at the start of `fresh`, and returns
/// how many they are. Bytes that do not fit there follow in `to_client`.
pub(crate) fn server_sent(
    conversation: &mut Conversation,
    fresh: &mut [u8],
) -> Result<usize, BadLength> {
    let mut fresh = Fresh {
        bytes: fresh,
        read: 0,
        kept: 0,
    };
    while fresh.read < fresh.bytes.len() {
        match conversation.reading {
            Reading::Header { bytes, filled } => {
                read_header(conversation, &mut fresh, bytes, filled)?;
            }
            Reading::Body { tag, left, fate } => {
                read_body(conversation, &mut fresh, tag, left, fate)?;
            }
        }
    }
    Ok(fresh.kept)
}

fn read_header(
    conversation: &mut Conversation,
    fresh: &mut Fresh<'_>,
    mut bytes: [u8; HEADER],
    filled: usize,
) -> Result<(), BadLength> {
    let range = fresh.next(HEADER - filled);
    let now_filled = filled + range.len();
    bytes[filled..now_filled].copy_from_slice(&fresh.bytes[range.clone()]);
    if now_filled < HEADER {
        conversation.reading = Reading::Header {
            bytes,
            filled: now_filled,
        };
        return Ok(());
    }
    let (tag, length) = announced(bytes)?;
    let fate = fate(conversation, tag);
    // A row may have any length.
    if fate == Fate::Hold && tag != b'D' && length > MAX_HELD as usize {
        return Err(BadLength {
            tag,
            length: length as u32,
        });
    }
    if filled == 0 && length <= fresh.bytes.len() - fresh.read {
        // The whole message is here, so nothing is copied.
        let body = fresh.next(length);
        let fate = match fate {
            Fate::Hold => whole(conversation, tag, &fresh.bytes[body.clone()])?,
            fate => fate,
        };
        if fate == Fate::Pass {
            emit(conversation, fresh, range.start..body.end);
        }
        conversation.reading = Reading::default();
        return after(conversation, tag);
    }
    match fate {
        Fate::Pass if filled == 0 => emit(conversation, fresh, range),
        Fate::Pass => conversation.to_client.end().extend_from_slice(&bytes),
        Fate::Hold => conversation.held.extend_from_slice(&bytes),
        Fate::Drop => {}
    }
    read_body(conversation, fresh, tag, length, fate)
}

fn read_body(
    conversation: &mut Conversation,
    fresh: &mut Fresh<'_>,
    tag: u8,
    left: usize,
    fate: Fate,
) -> Result<(), BadLength> {
    let range = fresh.next(left);
    let left = left - range.len();
    match fate {
        Fate::Pass => emit(conversation, fresh, range),
        Fate::Hold => conversation.held.extend_from_slice(&fresh.bytes[range]),
        Fate::Drop => {}
    }
    conversation.reading = Reading::Body { tag, left, fate };
    if left > 0 {
        return Ok(());
    }
    if fate == Fate::Hold {
        let mut held = std::mem::take(&mut conversation.held);
        if whole(conversation, tag, &held[HEADER..])? == Fate::Pass {
            conversation.to_client.end().extend_from_slice(&held);
        }
        empty(&mut held);
        conversation.held = held;
    }
    conversation.reading = Reading::default();
    after(conversation, tag)
}

/// Gives bytes to the client, in place as long as nothing else must come before them.
fn emit(conversation: &mut Conversation, fresh: &mut Fresh<'_>, range: Range<usize>) {
    if conversation.to_client.is_empty() {
        let length = range.len();
        if range.start != fresh.kept {
            fresh.bytes.copy_within(range, fresh.kept);
        }
        fresh.kept += length;
    } else {
        conversation
            .to_client
            .end()
            .extend_from_slice(&fresh.bytes[range]);
    }
}

/// Decides what happens to a message, as far as its tag can tell.
fn fate(conversation: &mut Conversation, tag: u8) -> Fate {
    match tag {
        b'A' | b'R' => return Fate::Pass,
        b'S' | b'K' | b'Z' | b'E' | b'C' | b'I' => return Fate::Hold,
        _ => {}
    }
    let Some(exchange) = conversation.pending.answered_mut() else {
        return Fate::Pass;
    };
    if tag == b'N' {
        // The server warns about the wire's SET LOCAL before a BEGIN, because there is no transaction yet.
        let is_ours = exchange.controls && matches!(exchange.part(), Some(Part::Statement { .. }));
        return if is_ours { Fate::Drop } else { Fate::Pass };
    }
    if exchange.silent || exchange.mismatch {
        return Fate::Drop;
    }
    match (exchange.part(), tag) {
        (Some(Part::Statement { .. } | Part::Commands { .. } | Part::Commit), _) => Fate::Drop,
        (Some(_), b'1' | b'2' | b'3' | b't' | b'T' | b'n') => Fate::Hold,
        (Some(Part::Check(_) | Part::CheckPortal(_) | Part::Parsed(_) | Part::Close), _) => {
            // These rows came before the description that they would have to fit.
            exchange.mismatch = true;
            Fate::Drop
        }
        _ => {
            if tag == b'G' {
                conversation.copying = Copying::In {
                    extended: exchange.extended,
                };
            }
            if tag == b'H' {
                // The client may not want these rows. PgBouncer loses what the client sends before the rows have
                // ended: at their end it believes that no other answer is due.
                exchange.controls = true;
            }
            exchange.passed = true;
            // If the client sends the rows of a COPY, they begin when the server is ready for them.
            if matches!(tag, b'D' | b'd' | b'G') && exchange.first_row.is_none() {
                exchange.first_row = Some(Instant::now());
            }
            if tag == b'D' && exchange.narrow.is_some() {
                Fate::Hold
            } else {
                Fate::Pass
            }
        }
    }
}

/// Reads a whole message and decides what happens to it.
fn whole(conversation: &mut Conversation, tag: u8, body: &[u8]) -> Result<Fate, BadLength> {
    match (tag, body) {
        (b'K', [a, b, c, d, ..]) => {
            conversation
                .observed
                .backend_named(i32::from_be_bytes([*a, *b, *c, *d]));
            return Ok(Fate::Pass);
        }
        (b'S', pair) => {
            let mut texts = pair.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            if let (Some(name), Some(value)) = (texts.next(), texts.next()) {
                if name == "standard_conforming_strings" {
                    conversation.conforming = value == "on";
                }
                conversation.observed.parameter_reported(&name, &value);
            }
            return Ok(Fate::Pass);
        }
        (b'D', row) => return cut_row(conversation, row),
        (b'Z', [status]) => return Ok(ready_for_query(conversation, *status)),
        (b'Z', _) => {
            let length = body.len() as u32 + 4;
            return Err(BadLength { tag, length });
        }
        _ => {}
    }
    let alone = tag == b'E' && conversation.pending.is_answering_the_last();
    // The pending answers are moved out while one of their exchanges is handled.
    let mut pending = std::mem::take(&mut conversation.pending);
    let fate = match pending.answered_mut() {
        Some(exchange) => match tag {
            b'E' => error(conversation, exchange, body, alone),
            b'C' | b'I' => completed(conversation, exchange, body),
            _ => described(conversation, exchange, tag, body),
        },
        // The server speaks without being asked: these are its last words before it hangs up.
        None => {
            if tag == b'E' {
                let error = ServerError::from_fields(body);
                conversation.observed.error_reported(error);
            }
            Fate::Pass
        }
    };
    conversation.pending = pending;
    Ok(fate)
}

/// Cuts a row that has more values than its client expects.
fn cut_row(conversation: &mut Conversation, row: &[u8]) -> Result<Fate, BadLength> {
    let narrow = conversation
        .pending
        .answered()
        .and_then(|exchange| exchange.narrow);
    let Some(row) = narrow.and_then(|values| narrowed(row, values)) else {
        let length = row.len() as u32 + 4;
        return Err(BadLength { tag: b'D', length });
    };
    put(conversation.to_client.end(), b'D', &[&row]);
    Ok(Fate::Drop)
}

fn ready_for_query(conversation: &mut Conversation, status: u8) -> Fate {
    let Some(mut exchange) = conversation.pending.take_answered() else {
        conversation.status = status;
        return Fate::Pass;
    };
    conversation.phase = Phase::Ready;
    if repeats(conversation, &mut exchange) {
        conversation.pending.put_back(exchange);
        return Fate::Drop;
    }
    if let Some(error) = exchange.unproven.take() {
        // The connection goes on after the error, so the error was the answer.
        put(conversation.to_client.end(), b'E', &[&error]);
    }
    if (exchange.failed || exchange.mismatch) && !exchange.silent {
        // This must come before the status changes.
        tell_failure(conversation, &exchange);
    }
    conversation.status = status;
    settle(conversation, &mut exchange);
    if exchange.silent {
        if !exchange.committed {
            conversation.observed.spoil();
        }
        conversation
            .observed
            .request_answered(exchange.request, None);
        return Fate::Drop;
    }
    if exchange.mismatch {
        let mut error = Vec::new();
        put_error(&mut error, &SqlState::FEATURE_NOT_SUPPORTED, MISMATCH);
        let told = ServerError::from_fields(&error[HEADER..]);
        // What the client knows of the statement, for example in diesel's cache, stays wrong for ever. A new
        // connection helps.
        match exchange.read_anew {
            true => conversation.observed.stale_statement_reported(told),
            false => conversation.observed.error_reported(told),
        }
        conversation.observed.outdate();
        conversation.to_client.end().extend_from_slice(&error);
    }
    let told = conversation.transaction.status().unwrap_or(status);
    conversation
        .observed
        .request_answered(exchange.request, Some(told));
    if told == status {
        return Fate::Pass;
    }
    put_ready(conversation.to_client.end(), told);
    Fate::Drop
}

/// Applies the end of an exchange to the transaction and to the statements.
fn settle(conversation: &mut Conversation, exchange: &mut Exchange) {
    // The server will not answer what it has not answered by now.
    for part in exchange.cut_short() {
        if let Part::Learn(id) = part {
            conversation.statements.refuse(id, true);
        }
    }
    conversation.copying = Copying::No;
    if exchange.commits && commit_is_over(conversation, exchange) {
        // The client learns of it when it ends the transaction.
    } else if exchange.reads_alone
        && (exchange.failed || exchange.mismatch)
        && conversation.transaction.is_held()
    {
        conversation.transaction = ClientTransaction::Broken { begun: false };
    } else if exchange.begin_failed {
        let begun = conversation.status != b'I';
        conversation.transaction = ClientTransaction::Broken { begun };
    } else if exchange.mismatch && conversation.status == b'T' {
        // The client is told that the statement failed, so the whole transaction has to fail.
        conversation.transaction = ClientTransaction::Broken { begun: true };
    } else if conversation.status == b'I'
        && !exchange.silent
        && matches!(conversation.transaction, ClientTransaction::Open { .. })
    {
        conversation.transaction = ClientTransaction::Plain;
    }
    if exchange.resets && !exchange.failed {
        session_was_reset(conversation);
    }
    meaning_has_changed(conversation, exchange);
    conversation.tell_whether_begin_is_held();
    // The server works on the next request only from now on.
    if let Some(next) = conversation.pending.answered_mut() {
        next.began = Instant::now();
    }
}

/// Forgets what was learnt before the meaning of texts changed, in this exchange or at the end of a transaction.
fn meaning_has_changed(conversation: &mut Conversation, exchange: &Exchange) {
    if exchange.changes_objects {
        conversation.objects_borrowed = true;
        conversation.statements.plans_outdated();
    }
    if exchange.changes_meaning {
        conversation.statements.forget_all();
        conversation.meaning_borrowed = true;
    }
    if conversation.meaning_borrowed && conversation.status == b'I' {
        // A SET LOCAL has just ended, or a SET or a change of an object has just been rolled back.
        conversation.statements.forget_all();
        conversation.meaning_borrowed = false;
        if std::mem::take(&mut conversation.objects_borrowed) {
            conversation.statements.plans_outdated();
        }
    }
}

/// Does what had to wait until this message was handled.
fn after(conversation: &mut Conversation, tag: u8) -> Result<(), BadLength> {
    conversation.deliver_local();
    if matches!(tag, b'Z' | b'G')
        && !conversation.inbox.is_empty()
        && conversation.phase == Phase::Ready
    {
        take_requests(conversation)?;
    }
    Ok(())
}

const MISMATCH: &str = "the statement's result has changed since it was prepared; this connection is replaced when it \
     is returned";
