//! Simple queries: where transactions begin and end.

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::client_transaction::ClientTransaction;
use crate::conversation::committed::answer_query_in_committed;
use crate::conversation::early_commit::commit_behind;
use crate::conversation::exchange::{Exchange, Part};
use crate::conversation::leftovers::{leaves, send_reset};
use crate::conversation::refusal::{FAILED, needs_settings, refusal};
use crate::protocol::message::{EMPTY_QUERY, put};
use crate::request::Request;
use crate::rules::Rules;
use crate::sql::reads::Reads;
use crate::sql::statement_timeout::sets_timeout;
use crate::sql::statements::is_blank;
use crate::sql::tokens::Sql;
use crate::sql::traits::Traits;
use crate::sql::transactions::{End, Opening, is_partial_rollback};

pub(super) fn simple(conversation: &mut Conversation, rules: &Rules, text: &[u8]) {
    let sql = conversation.sql(text);
    if conversation.is_committed() {
        return answer_query_in_committed(conversation, sql);
    }
    let is_last = conversation.steering.take_commit();
    if conversation.transaction.status().is_some() && simple_unsent(conversation, sql) {
        return;
    }
    if send_reset(conversation, rules, text) {
        return;
    }
    if let Some(refusal) = refusal(rules, sql, conversation.is_in_transaction()) {
        return conversation.refuse(&refusal);
    }
    let settled = conversation.is_settled();
    if rules.holds_begin()
        && settled
        && conversation.transaction == ClientTransaction::Plain
        && conversation.status == b'I'
        && let Some(opening) = Opening::parse(sql)
    {
        if sets_timeout(text) {
            conversation.observed.note_own_timeout(text);
        }
        conversation.transaction = ClientTransaction::Held(opening);
        return conversation.answer_complete(b"BEGIN", None);
    }
    let end = End::parse(sql);
    if end == Some(End::Commit)
        && rules.defer_begin
        && settled
        && conversation.status == b'T'
        && conversation.transaction.is_harmless()
    {
        return commit_silently(conversation);
    }
    conversation.transaction.taint();
    send_simple(conversation, rules, sql, end, is_last);
}

/// Answers a query in a transaction that the server does not know, or believes to be healthy.
/// Returns `false` if the query must be sent.
fn simple_unsent(conversation: &mut Conversation, sql: Sql<'_>) -> bool {
    let end = match conversation.transaction {
        ClientTransaction::Broken { .. } => End::of_failed(sql),
        _ => End::parse(sql),
    };
    match (&conversation.transaction, end) {
        (ClientTransaction::Broken { begun }, Some(end)) => {
            let begun = *begun;
            conversation.transaction = ClientTransaction::Plain;
            if begun {
                put(conversation.to_server.end(), b'Q', &[b"ROLLBACK\0"]);
                conversation.expect_answer(Exchange::new(match end {
                    End::Commit => Request::Commit,
                    End::Rollback => Request::Work,
                }));
                return true;
            }
            if end == End::Commit {
                conversation.observed.commit_was_refused();
            }
            conversation.answer_complete(b"ROLLBACK", None);
        }
        (_, Some(end)) => {
            conversation.transaction = ClientTransaction::Plain;
            let tag: &[u8] = match end {
                End::Commit => b"COMMIT",
                End::Rollback => b"ROLLBACK",
            };
            conversation.answer_complete(tag, None);
        }
        (_, None) if is_blank(sql) => conversation.answer(EMPTY_QUERY, None),
        (ClientTransaction::Broken { begun: true }, None) if is_partial_rollback(sql) => {
            conversation.transaction = ClientTransaction::Open { harmless: false };
            return false;
        }
        (ClientTransaction::Broken { .. }, None) => {
            conversation.answer_error(&SqlState::IN_FAILED_SQL_TRANSACTION, FAILED);
        }
        _ => return false,
    }
    true
}

fn send_simple(
    conversation: &mut Conversation,
    rules: &Rules,
    sql: Sql<'_>,
    end: Option<End>,
    is_last: bool,
) {
    let traits = Traits::of(sql);
    let is_blank = is_blank(sql);
    let outside = conversation.status == b'I' && conversation.transaction.status().is_none();
    if outside
        && traits.stands_alone
        && let Some(refusal) = needs_settings(rules)
    {
        return conversation.refuse(&refusal);
    }
    let mut exchange = Exchange::new(if traits.may_commit {
        Request::Commit
    } else {
        Request::Work
    });
    leaves(conversation, traits.residue);
    if traits.sets_timeout {
        conversation.observed.note_own_timeout(sql.text);
    }
    exchange.partial_rollback = traits.partial_rollback;
    exchange.changes_meaning =
        traits.changes_meaning || (conversation.meaning_borrowed && traits.partial_rollback);
    exchange.controls = rules.local_settings.is_some() && traits.controls;
    exchange.only_reads = traits.reads > Reads::No;
    exchange.reads_alone = conversation.reads_alone(rules, traits.reads);
    if is_last {
        commit_behind(conversation, &mut exchange, traits);
    }
    if conversation.steering.watcher().is_some() && !is_blank {
        let noted = conversation.texts.noted(sql.text);
        exchange.text = Some(noted.text);
        exchange.note = Some(noted.note);
    }
    // All of it is one message: if BEGIN fails, the rest must fail too.
    let mut head = Vec::new();
    let mut commands = 0;
    let opening = match exchange.reads_alone {
        true => None,
        false => conversation.transaction.send_begin(rules),
    };
    let is_begin = opening.is_some();
    if let Some(opening) = &opening {
        head.extend_from_slice(&opening.sql);
        head.push(b';');
        commands += 1;
        exchange.begins = true;
        conversation.transaction.taint();
    }
    // A statement that ends a transaction runs with the transaction's settings; an empty text needs
    // none.
    let bare = end.is_some() || is_blank || traits.is_bare(rules);
    let settings: &[Vec<u8>] = match &rules.local_settings {
        Some(settings) if is_begin => settings.in_transaction(),
        Some(settings) if conversation.status == b'I' && !bare && traits.controls => {
            settings.before_begin()
        }
        Some(settings) if conversation.status == b'I' && !bare => settings.before_simple(),
        _ => &[],
    };
    let outside = conversation.status == b'I' && !is_begin;
    conversation
        .observed
        .note_unbounded(outside && rules.local_settings.is_some());
    for statement in settings {
        head.extend_from_slice(statement);
        head.push(b';');
        commands += 1;
    }
    // These come after the pool's settings, which they override.
    for setting in opening.iter().flat_map(|opening| &opening.settings) {
        head.extend_from_slice(setting);
        head.push(b';');
        commands += 1;
    }
    if commands > 0 {
        exchange.parts.push(Part::Commands {
            left: commands,
            is_begin,
        });
    }
    if !head.is_empty() {
        exchange.head = String::from_utf8_lossy(&head).chars().count();
    }
    // It needs a line of its own, because the text may end in a comment.
    let tail: &[u8] = if exchange.commits {
        b"\n;COMMIT\0"
    } else {
        b"\0"
    };
    put(conversation.to_server.end(), b'Q', &[&head, sql.text, tail]);
    conversation
        .observed
        .last_statement()
        .note(sql.text, exchange.began);
    conversation.expect_answer(exchange);
}

/// Answers the COMMIT of a transaction that has only read, and sends it without waiting.
fn commit_silently(conversation: &mut Conversation) {
    conversation.transaction = ClientTransaction::Plain;
    conversation.status = b'I';
    conversation.answer_complete(b"COMMIT", Some(b'I'));
    put(conversation.to_server.end(), b'Q', &[b"COMMIT\0"]);
    let mut exchange = Exchange::new(Request::Housekeeping);
    exchange.silent = true;
    conversation.expect_answer(exchange);
}
