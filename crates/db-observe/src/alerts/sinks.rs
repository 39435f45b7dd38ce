//! The places that get alerts.

#[cfg(feature = "webhook")]
pub(crate) mod http;
#[cfg(feature = "mail")]
pub(crate) mod mail;
pub(crate) mod not_sent;
#[cfg(feature = "webhook")]
pub(crate) mod slack;
#[cfg(feature = "webhook")]
pub(crate) mod webhook;

use std::time::Duration;

use crate::alerts::alert::Alert;
#[cfg(feature = "mail")]
use crate::alerts::sinks::mail::Mail;
use crate::alerts::sinks::not_sent::NotSent;
#[cfg(feature = "webhook")]
use crate::alerts::sinks::slack::Slack;
#[cfg(feature = "webhook")]
use crate::alerts::sinks::webhook::Webhook;

/// One place that gets alerts.
#[derive(Debug)]
pub(crate) enum Sink {
    #[cfg(feature = "webhook")]
    Slack(Slack),
    #[cfg(feature = "webhook")]
    Webhook(Webhook),
    #[cfg(feature = "mail")]
    Mail(Box<Mail>),
    /// Only a log event.
    Log,
}

impl Sink {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            #[cfg(feature = "webhook")]
            Self::Slack(_) => "slack",
            #[cfg(feature = "webhook")]
            Self::Webhook(_) => "webhook",
            #[cfg(feature = "mail")]
            Self::Mail(_) => "mail",
            Self::Log => "log",
        }
    }

    /// Whether the sink wants this alert: mail is only for alerts that should wake somebody.
    pub(crate) fn wants(&self, alert: &Alert) -> bool {
        #[cfg(feature = "mail")]
        if let Self::Mail(_) = self {
            return alert.level == crate::alerts::alert::Level::Critical;
        }
        let _ = alert;
        true
    }

    /// How long to wait after one alert before the next.
    pub(crate) fn pause(&self) -> Duration {
        match self {
            // Slack answers more than one message a second with 429.
            #[cfg(feature = "webhook")]
            Self::Slack(_) => Duration::from_secs(1),
            _ => Duration::ZERO,
        }
    }

    pub(crate) async fn send(&self, alert: &Alert) -> Result<(), NotSent> {
        match self {
            #[cfg(feature = "webhook")]
            Self::Slack(slack) => slack.send(alert).await,
            #[cfg(feature = "webhook")]
            Self::Webhook(webhook) => webhook.send(alert).await,
            #[cfg(feature = "mail")]
            Self::Mail(mail) => mail.send(alert).await,
            Self::Log => {
                tracing::warn!(
                    target: "app_db::alert",
                    rule = alert.rule,
                    pool = &*alert.pool,
                    level = %alert.level,
                    state = %alert.state,
                    text = alert.message,
                    "alert"
                );
                Ok(())
            }
        }
    }
}
