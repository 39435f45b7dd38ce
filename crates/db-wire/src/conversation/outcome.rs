//! The outcome of an exchange: an error, or the completion of a command.

use std::time::Instant;

use tokio_postgres::error::SqlState;

use crate::command::Command;
use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Part, Repeat};
use crate::conversation::lost::{may_have_taken_effect, proves_nothing, tell_unknown};
use crate::protocol::frame::Fate;
use crate::protocol::message::{put, rows_of, split_text};
use crate::request::Request;
use crate::server_error::ServerError;
use crate::sql::settings::{forgets_names, is_ddl_tag, outdates_plans};
use crate::sql::transactions::is_partial_rollback;

/// An error ends the exchange up to its ReadyForQuery. `alone` says that nothing was sent after it.
pub(super) fn error(
    conversation: &mut Conversation,
    exchange: &mut Exchange,
    body: &[u8],
    alone: bool,
) -> Fate {
    let moved = (exchange.head > 0).then(|| behind_head(body, exchange.head));
    let error = ServerError::from_fields(moved.as_deref().unwrap_or(body));
    if exchange.ended {
        // A pooler passes on the server's FATAL and adds its own, which says nothing of the request. The client reads
        // the first one only.
        return Fate::Drop;
    }
    exchange.failed = true;
    exchange.ended = error.is_fatal();
    exchange.sqlstate = Some(error.sqlstate().clone());
    exchange.mismatch = false;
    let cut = exchange.cut_short();
    let learning = cut.iter().any(|part| matches!(part, Part::Learn(_)));
    let stale = exchange.statement.filter(|_| is_stale(&error));
    if let Some(id) = stale {
        if *error.sqlstate() == SqlState::INVALID_SQL_STATEMENT_NAME {
            conversation.statements.names_lost();
            conversation.statements.forget(id);
        } else {
            conversation.statements.outdate(id);
            // A text that was parsed just now can have an old plan only if a pooler keeps plans for it.
            if learning || conversation.is_shared() {
                conversation.statements.unname(id);
            }
        }
        // The client is told nothing of a description before the wire knows all of it.
        let untold = exchange.repeatable && (learning || !exchange.passed) && alone;
        if untold && exchange.repeat == Repeat::No && conversation.statements.get(id).is_some() {
            exchange.repeat = Repeat::Wanted;
            return Fate::Drop;
        }
    }
    for part in cut {
        match part {
            Part::Learn(id) => conversation.statements.refuse(id, exchange.passed),
            Part::Check(id) | Part::CheckPortal(id) | Part::Parsed(id) => {
                conversation.statements.forget(id);
            }
            _ => {}
        }
    }
    let (is_unproven, is_fatal) = (proves_nothing(exchange, &error), error.is_fatal());
    if has_lost_a_type(&error) {
        conversation.observed.outdate();
        conversation.observed.stale_statement_reported(error);
    } else if stale.is_some() {
        conversation.observed.stale_statement_reported(error);
    } else {
        conversation.observed.error_reported(error);
    }
    if exchange.silent {
        return Fate::Drop;
    }
    let body = moved.as_deref().unwrap_or(body);
    if is_unproven && may_have_taken_effect(conversation, exchange) {
        exchange.unproven = Some(body.into());
        if is_fatal {
            // The connection ends with this error, and no ReadyForQuery follows.
            tell_unknown(conversation, exchange, None);
        }
        return Fate::Drop;
    }
    if moved.is_some() {
        put(conversation.to_client.end(), b'E', &[body]);
        return Fate::Drop;
    }
    Fate::Pass
}

pub(super) fn completed(
    conversation: &mut Conversation,
    exchange: &mut Exchange,
    tag: &[u8],
) -> Fate {
    match exchange.part() {
        Some(Part::Statement { .. } | Part::Commands { .. }) => {
            exchange.command_done();
            return Fate::Drop;
        }
        Some(Part::Commit) => {
            exchange.committed = tag.starts_with(b"COMMIT");
            exchange.part_done();
            return Fate::Drop;
        }
        Some(Part::Check(_) | Part::CheckPortal(_) | Part::Parsed(_) | Part::Close) => {
            exchange.mismatch = true;
        }
        _ => {}
    }
    if exchange.resets {
        return Fate::Pass;
    }
    exchange.committed = tag.starts_with(b"COMMIT");
    if exchange.request == Request::Commit && tag.starts_with(b"ROLLBACK") {
        conversation.observed.commit_was_refused();
    }
    if exchange.silent {
        return Fate::Drop;
    }
    if is_boundary(conversation, exchange, tag) {
        conversation.observed.boundary_crossed();
    }
    conversation.observed.statement_completed();
    if forgets_names(tag) {
        conversation.statements.names_lost();
    }
    if is_ddl_tag(tag) {
        // Until the transaction ends, a rollback may undo the change, and the old descriptions hold again.
        exchange.changes_meaning = true;
        exchange.changes_objects |= outdates_plans(tag);
    }
    if exchange.mismatch {
        return Fate::Drop;
    }
    tell(conversation, exchange, rows_of(tag), None);
    exchange.passed = true;
    // If the query has several statements, the next one begins here.
    exchange.began = Instant::now();
    exchange.first_row = None;
    exchange.told = true;
    if exchange.commits {
        exchange.parts.push(Part::Commit);
    }
    Fate::Pass
}

/// The end of an exchange that failed.
pub(super) fn tell_failure(conversation: &Conversation, exchange: &Exchange) {
    let sqlstate = match &exchange.sqlstate {
        Some(sqlstate) if exchange.failed => sqlstate,
        _ => &SqlState::FEATURE_NOT_SUPPORTED,
    };
    tell(conversation, exchange, 0, Some(sqlstate));
}

/// The connection has ended in the middle of a command.
pub(crate) fn broken_off(conversation: &Conversation) {
    if let Some(exchange) = conversation.pending.answered()
        && !exchange.silent
        && exchange.request.works()
        && (!exchange.told || exchange.first_row.is_some())
    {
        let last_words = exchange.sqlstate.as_ref();
        let sqlstate = last_words.unwrap_or(&SqlState::CONNECTION_FAILURE);
        tell(conversation, exchange, 0, Some(sqlstate));
    }
}

/// Tells the watcher of a finished command.
fn tell(conversation: &Conversation, exchange: &Exchange, rows: u64, sqlstate: Option<&SqlState>) {
    let (Some(text), Some(note)) = (&exchange.text, &exchange.note) else {
        return;
    };
    let Some(watcher) = conversation.steering.watcher() else {
        return;
    };
    let duration = exchange.began.elapsed();
    watcher(&Command {
        sql: split_text(text).map_or(text, |(sql, _types)| sql),
        note,
        duration,
        executing: exchange.first_row.map_or(duration, |first| {
            first.saturating_duration_since(exchange.began)
        }),
        rows,
        sqlstate,
        in_transaction: conversation.status != b'I' || exchange.begins,
    });
}

/// An error's fields, with the position reduced by `head` characters.
fn behind_head(body: &[u8], head: usize) -> Vec<u8> {
    let mut moved = Vec::with_capacity(body.len());
    for field in body.split_inclusive(|byte| *byte == 0) {
        let position = field
            .strip_prefix(b"P")
            .and_then(|text| text.strip_suffix(b"\0"));
        let position = position.and_then(|text| str::from_utf8(text).ok()?.parse::<usize>().ok());
        match position.and_then(|position| position.checked_sub(head)) {
            Some(position) => moved.extend_from_slice(format!("P{position}\0").as_bytes()),
            None => moved.extend_from_slice(field),
        }
    }
    moved
}

/// Whether a transaction has begun or ended. Going back to a savepoint does not count.
fn is_boundary(conversation: &Conversation, exchange: &Exchange, tag: &[u8]) -> bool {
    let partial = || {
        let sql = exchange.text.as_deref().unwrap_or_default();
        let sql = sql.split(|byte| *byte == 0).next().unwrap_or_default();
        exchange.partial_rollback || is_partial_rollback(conversation.sql(sql))
    };
    let is = |name: &[u8]| tag.starts_with(name);
    is(b"BEGIN")
        || is(b"START TRANSACTION")
        || is(b"COMMIT")
        || is(b"PREPARE TRANSACTION")
        || (is(b"ROLLBACK") && !partial())
}

/// Whether the plan's result has changed, or the server does not know the name.
fn is_stale(error: &ServerError) -> bool {
    let refused_plan = *error.sqlstate() == SqlState::FEATURE_NOT_SUPPORTED
        && error.routine() == Some("RevalidateCachedQuery");
    refused_plan || *error.sqlstate() == SqlState::INVALID_SQL_STATEMENT_NAME
}

/// Whether a type that this connection has looked up or planned with is gone: somebody dropped it, and perhaps created
/// it again under another number. The test of the message is safe, because messages of internal errors are never
/// translated.
fn has_lost_a_type(error: &ServerError) -> bool {
    let looked_up = *error.sqlstate() == SqlState::INTERNAL_ERROR
        && error.message().starts_with("cache lookup failed for type");
    let stated = *error.sqlstate() == SqlState::UNDEFINED_OBJECT
        && matches!(
            error.routine(),
            Some("lookup_type_cache" | "typeidTypeRelid" | "typenameType")
        )
        && error.message().contains("OID");
    looked_up || stated
}
