//! Requests in a transaction that has failed for the client, while the server knows nothing of the failure.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::client_transaction::ClientTransaction;
use crate::conversation::exchange::{Exchange, Part};
use crate::conversation::extended::send_close;
use crate::conversation::inbox::Frame;
use crate::conversation::refusal::FAILED;
use crate::protocol::message::{PARSED, put_complete, put_statement, put_sync, split_text};
use crate::request::Request;
use crate::sql::traits::Traits;
use crate::sql::transactions::{End, is_partial_rollback};

/// Answers a request of the extended protocol. Returns `false` if the request must be sent after all, because
/// it goes back to a savepoint.
pub(super) fn answer_in_broken(
    conversation: &mut Conversation,
    inbox: &[u8],
    frames: &[Frame],
) -> bool {
    match frames {
        [close, _sync] if close.tag == b'C' => send_close(conversation, inbox, frames),
        [sync] if sync.tag == b'S' => conversation.answer(b"", None),
        [parse, _describe, _sync] if parse.tag == b'P' => {
            let Some((name, tail)) = split_text(parse.body(inbox)) else {
                return fail(conversation);
            };
            let sql = conversation.sql(split_text(tail).map_or(tail, |(sql, _types)| sql));
            if goes_back(conversation, tail) {
                return false;
            }
            if End::of_failed(sql).is_none() {
                return fail(conversation);
            }
            let traits = Traits::of(sql);
            let id = conversation.statements.create(name, tail, traits);
            if let Some(record) = conversation.statements.get_mut(id) {
                record.prepared = false;
                record.description = Some(NO_ROWS.into());
            }
            conversation.answer(&[PARSED, NO_ROWS].concat(), None);
        }
        [bind, _execute, _sync] if bind.tag == b'B' => {
            let name = split_text(bind.body(inbox)).and_then(|(_portal, rest)| split_text(rest));
            let id = name.and_then(|(name, _)| conversation.statements.known(name));
            let record = id.and_then(|id| conversation.statements.get(id));
            let Some((id, tail)) = id.zip(record.map(|record| Arc::clone(&record.tail))) else {
                return fail(conversation);
            };
            if goes_back(conversation, &tail) {
                return false;
            }
            let sql = split_text(&tail).map_or(&*tail, |(sql, _types)| sql);
            let Some(end) = End::of_failed(conversation.sql(sql)) else {
                return fail(conversation);
            };
            let begun = conversation.transaction == ClientTransaction::Broken { begun: true };
            conversation.transaction = ClientTransaction::Plain;
            if begun {
                put_statement(conversation.to_server.end(), b"ROLLBACK");
                put_sync(conversation.to_server.end());
                let mut exchange = Exchange::new(match end {
                    End::Commit => Request::Commit,
                    End::Rollback => Request::Work,
                });
                exchange.parts.push(Part::Parsed(id));
                conversation.expect_answer(exchange);
            } else {
                if end == End::Commit {
                    conversation.observed.commit_was_refused();
                }
                let mut messages = BOUND.to_vec();
                put_complete(&mut messages, b"ROLLBACK");
                conversation.answer(&messages, None);
            }
        }
        _ => return fail(conversation),
    }
    true
}

/// Whether a text goes back to a savepoint of a transaction that the server has. The transaction is then
/// healthy again.
fn goes_back(conversation: &mut Conversation, tail: &[u8]) -> bool {
    let sql = split_text(tail).map_or(tail, |(sql, _types)| sql);
    let goes_back = conversation.transaction == ClientTransaction::Broken { begun: true }
        && is_partial_rollback(conversation.sql(sql));
    if goes_back {
        conversation.transaction = ClientTransaction::Open { harmless: false };
    }
    goes_back
}

fn fail(conversation: &mut Conversation) -> bool {
    conversation.answer_error(&SqlState::IN_FAILED_SQL_TRANSACTION, FAILED);
    true
}

/// The answer to Describe of a statement that has no parameters and no rows.
const NO_ROWS: &[u8] = b"t\0\0\0\x06\0\0n\0\0\0\x04";

/// The answer to Bind.
const BOUND: &[u8] = b"2\0\0\0\x04";
