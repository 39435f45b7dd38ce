//! Simple queries: where transactions begin and end.

use tokio_postgres::error::SqlState;

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Part};
use crate::conversation::transaction::Transaction;
use crate::observed::Request;
use crate::protocol::message::put;
use crate::rules::Rules;
use crate::sql::opening::Opening;
use crate::sql::residue::{Residue, sets_for_everybody};
use crate::sql::text::{self, End};

/// What PostgreSQL says to every statement of a failed transaction.
pub(super) const FAILED: &str =
    "current transaction is aborted, commands ignored until end of transaction block";

const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";

impl Conversation {
    pub(super) fn simple(&mut self, rules: &Rules, sql: &[u8]) {
        if self.transaction.status().is_some() && self.simple_unsent(sql) {
            return;
        }
        if self.send_reset(rules, sql) {
            return;
        }
        if let Some(refusal) = refusal(rules, sql) {
            return self.answer_error(&SqlState::FEATURE_NOT_SUPPORTED, &refusal);
        }
        let settled = self.is_settled();
        if defers(rules)
            && settled
            && self.transaction == Transaction::Plain
            && self.status == b'I'
            && let Some(opening) = Opening::parse(sql)
        {
            self.transaction = Transaction::Held(opening);
            return self.answer_complete(b"BEGIN", None);
        }
        let end = End::parse(sql);
        if end == Some(End::Commit)
            && rules.defer_begin
            && settled
            && self.status == b'T'
            && self.transaction.is_harmless()
        {
            return self.commit_silently();
        }
        self.transaction.taint();
        self.send_simple(rules, sql, end);
    }

    /// Answers for a transaction that the server knows nothing of, or believes to be well; `false` when
    /// the query is to be sent.
    fn simple_unsent(&mut self, sql: &[u8]) -> bool {
        match (&self.transaction, End::parse(sql)) {
            (Transaction::Broken { begun }, Some(end)) => {
                let begun = *begun;
                self.transaction = Transaction::Plain;
                if begun {
                    put(self.to_server.end(), b'Q', &[b"ROLLBACK\0"]);
                    self.plan_answer(Exchange::new(match end {
                        End::Commit => Request::Commit,
                        End::Rollback => Request::Work,
                    }));
                    return true;
                }
                if end == End::Commit {
                    self.observed.commit_was_refused();
                }
                self.answer_complete(b"ROLLBACK", None);
            }
            (_, Some(end)) => {
                self.transaction = Transaction::Plain;
                let tag: &[u8] = match end {
                    End::Commit => b"COMMIT",
                    End::Rollback => b"ROLLBACK",
                };
                self.answer_complete(tag, None);
            }
            (_, None) if text::is_blank(sql) => self.answer(EMPTY_QUERY, None),
            (Transaction::Broken { begun: true }, None) if text::is_partial_rollback(sql) => {
                self.transaction = Transaction::Open { harmless: false };
                return false;
            }
            (Transaction::Broken { .. }, None) => {
                self.answer_error(&SqlState::IN_FAILED_SQL_TRANSACTION, FAILED);
            }
            _ => return false,
        }
        true
    }

    fn send_simple(&mut self, rules: &Rules, sql: &[u8], end: Option<End>) {
        let commits = end.map_or_else(|| text::may_commit(sql), |end| end == End::Commit);
        let mut exchange = Exchange::new(if commits {
            Request::Commit
        } else {
            Request::Work
        });
        // What only ends a transaction is nothing else.
        let is_end = end.is_some();
        if !is_end {
            self.leaves(Residue::of(sql));
        }
        exchange.partial_rollback = !is_end && text::is_partial_rollback(sql);
        exchange.touches_resolution = (self.resolution_borrowed && exchange.partial_rollback)
            || (!is_end && text::touches_resolution(sql));
        exchange.controls = rules.local_settings.is_some() && text::controls_transaction(sql);
        exchange.only_reads = !is_end && text::is_plain_select(sql) && !sql.contains(&b';');
        if self.steering.watcher().is_some() && !text::is_blank(sql) {
            let noted = self.texts.noted(sql);
            exchange.text = Some(noted.text);
            exchange.note = Some(noted.note);
        }
        // One message for all of it: a BEGIN that fails must take the rest with it.
        let mut head = Vec::new();
        let mut commands = 0;
        let opening = self.transaction.send_begin(rules);
        let is_begin = opening.is_some();
        if let Some(opening) = &opening {
            head.extend_from_slice(&opening.sql);
            head.push(b';');
            commands += 1;
            exchange.begins = true;
            self.transaction.taint();
        }
        let alone = !is_end && (text::is_blank(sql) || text::wants_to_be_alone(sql));
        if let Some(settings) = &rules.local_settings
            && (is_begin || (self.status == b'I' && !alone))
        {
            for statement in settings.statements(is_begin) {
                head.extend_from_slice(statement);
                head.push(b';');
                commands += 1;
            }
        }
        // Behind those of the pool, which they overrule.
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
        put(self.to_server.end(), b'Q', &[&head, sql, b"\0"]);
        self.observed.last_statement().note(sql, exchange.began);
        self.plan_answer(exchange);
    }

    /// Answers the COMMIT of a transaction that has only read, and sends it without waiting.
    fn commit_silently(&mut self) {
        self.transaction = Transaction::Plain;
        self.status = b'I';
        self.answer_complete(b"COMMIT", Some(b'I'));
        put(self.to_server.end(), b'Q', &[b"COMMIT\0"]);
        let mut exchange = Exchange::new(Request::Housekeeping);
        exchange.silent = true;
        self.plan_answer(exchange);
    }
}

fn defers(rules: &Rules) -> bool {
    // Settings that travel in the transaction's first batch need the BEGIN there.
    rules.defer_begin || rules.local_settings.is_some()
}

/// Why a statement cannot run on a session that is shared with others (case R32).
pub(super) fn refusal(rules: &Rules, sql: &[u8]) -> Option<String> {
    if rules.refuses_set && sets_for_everybody(sql) {
        return Some(SET_IS_SHARED.to_owned());
    }
    let what = rules
        .shared_session
        .then(|| text::needs_own_session(sql))
        .flatten()?;
    Some(format!(
        "{what} needs a session of its own, and this pool goes through a transaction-mode pooler; \
         use a pool with via = \"direct\", which connects by DATABASE_URL_DIRECT"
    ))
}

const SET_IS_SHARED: &str = "SET would change a session that a transaction-mode pooler shares with other \
     clients; use SET LOCAL in a transaction, a setting of the pool's profile, or a pool with \
     via = \"direct\"";
