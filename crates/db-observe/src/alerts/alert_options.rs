//! What causes alerts, and who gets them.

use crate::alerts::rule::{RULES, Rule};
use crate::alerts::sinks::Sink;
#[cfg(feature = "mail")]
use crate::alerts::sinks::mail::Mail;
#[cfg(feature = "webhook")]
use crate::alerts::sinks::slack::Slack;
#[cfg(feature = "webhook")]
use crate::alerts::sinks::webhook::Webhook;

/// The rules, and the places that get alerts.
#[derive(Debug)]
pub struct AlertOptions {
    pub(crate) rules: Vec<Rule>,
    pub(crate) sinks: Vec<Sink>,
}

impl Default for AlertOptions {
    /// The built-in rules, and a log event for each alert.
    fn default() -> Self {
        Self {
            rules: RULES.to_vec(),
            sinks: vec![Sink::Log],
        }
    }
}

impl AlertOptions {
    /// Other rules instead of the built-in ones. Copy and change those from [`RULES`].
    #[must_use]
    pub fn rules(mut self, rules: Vec<Rule>) -> Self {
        self.rules = rules;
        self
    }

    /// Sends alerts to a Slack channel too.
    #[cfg(feature = "webhook")]
    #[must_use]
    pub fn slack(mut self, slack: Slack) -> Self {
        self.sinks.push(Sink::Slack(slack));
        self
    }

    /// Sends alerts to a receiver of Alertmanager's webhooks too.
    #[cfg(feature = "webhook")]
    #[must_use]
    pub fn webhook(mut self, webhook: Webhook) -> Self {
        self.sinks.push(Sink::Webhook(webhook));
        self
    }

    /// Sends critical alerts by mail too.
    #[cfg(feature = "mail")]
    #[must_use]
    pub fn mail(mut self, mail: Mail) -> Self {
        self.sinks.push(Sink::Mail(Box::new(mail)));
        self
    }
}
