//! What is told of, and to whom.

use crate::alerts::rule::{RULES, Rule};
use crate::alerts::sinks::Sink;
#[cfg(feature = "mail")]
use crate::alerts::sinks::mail::Mail;
#[cfg(feature = "webhook")]
use crate::alerts::sinks::slack::Slack;
#[cfg(feature = "webhook")]
use crate::alerts::sinks::webhook::Webhook;

/// The rules, and the places that are told.
#[derive(Debug)]
pub struct AlertOptions {
    pub(crate) rules: Vec<Rule>,
    pub(crate) sinks: Vec<Sink>,
}

impl Default for AlertOptions {
    /// The built-in rules, with an event of the log for each alert.
    fn default() -> Self {
        Self {
            rules: RULES.to_vec(),
            sinks: vec![Sink::Log],
        }
    }
}

impl AlertOptions {
    /// Other rules in the place of the built-in ones, which are in [`RULES`] to be copied and changed.
    #[must_use]
    pub fn rules(mut self, rules: Vec<Rule>) -> Self {
        self.rules = rules;
        self
    }

    /// Tells a channel of Slack too.
    #[cfg(feature = "webhook")]
    #[must_use]
    pub fn slack(mut self, slack: Slack) -> Self {
        self.sinks.push(Sink::Slack(slack));
        self
    }

    /// Tells a receiver of Alertmanager's webhooks too.
    #[cfg(feature = "webhook")]
    #[must_use]
    pub fn webhook(mut self, webhook: Webhook) -> Self {
        self.sinks.push(Sink::Webhook(webhook));
        self
    }

    /// Mails critical alerts too.
    #[cfg(feature = "mail")]
    #[must_use]
    pub fn mail(mut self, mail: Mail) -> Self {
        self.sinks.push(Sink::Mail(Box::new(mail)));
        self
    }
}
