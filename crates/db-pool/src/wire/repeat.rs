//! The second try of a statement whose plan or name the server refused before anything ran.
//!
//! It is prepared anew and run again, and its client sees the second answer alone. While that lasts
//! nothing else is sent: the answers would come in another order than they are expected.

use super::conversation::Conversation;
use super::exchange::{Exchange, Part, Repeat};
use super::message::{put_describe, put_parse, put_sync};
use super::outbox::empty;

impl Conversation {
    /// Whether an exchange that has come to its ReadyForQuery goes on.
    pub(super) fn repeats(&mut self, exchange: &mut Exchange) -> bool {
        let goes_on = match exchange.repeat {
            Repeat::Wanted => {
                exchange.repeat = Repeat::Preparing;
                exchange.failed = false;
                self.prepare_anew(exchange)
            }
            Repeat::Preparing if !exchange.failed && !exchange.mismatch => {
                exchange.repeat = Repeat::Running;
                self.run_again(exchange)
            }
            _ => false,
        };
        if !goes_on && exchange.repeatable {
            empty(&mut self.retained);
        }
        goes_on
    }

    fn prepare_anew(&mut self, exchange: &mut Exchange) -> bool {
        self.put_settings_again(exchange);
        let Some(id) = exchange.statement else {
            return false;
        };
        let Some(record) = self.statements.get_mut(id) else {
            return false;
        };
        record.prepared = Some(record.name.clone());
        let out = self.to_server.end();
        put_parse(out, &record.name, &record.tail);
        put_describe(out, &record.name);
        put_sync(out);
        exchange.parts.push(Part::Check(id));
        true
    }

    fn run_again(&mut self, exchange: &mut Exchange) -> bool {
        self.put_settings_again(exchange);
        let out = self.to_server.end();
        out.extend_from_slice(&self.retained);
        put_sync(out);
        true
    }

    /// Settings that travel with a statement travel with its second try.
    fn put_settings_again(&mut self, exchange: &mut Exchange) {
        let record = exchange.statement.and_then(|id| self.statements.get(id));
        let alone = record.is_some_and(|record| record.alone);
        if let Some(rules) = self.steering.rules() {
            self.put_head(&rules, exchange, alone);
        }
    }
}
