//! A webhook that gets the same messages as from Alertmanager.

use std::collections::BTreeMap;
use std::time::SystemTime;

use secrecy::SecretString;
use serde::Serialize;

use crate::alerts::alert::{Alert, AlertState, Level};
use crate::alerts::sinks::http::{NoUrl, PostAddress};
use crate::alerts::sinks::not_sent::NotSent;

/// A receiver of Alertmanager's webhooks, in version 4 of their JSON.
#[derive(Clone, Debug)]
pub struct Webhook(PostAddress);

impl Webhook {
    /// The receiver at a URL, which is treated as a secret.
    ///
    /// # Errors
    ///
    /// [`NoUrl`] if it is not a valid URL.
    pub fn new(url: impl Into<SecretString>) -> Result<Self, NoUrl> {
        PostAddress::new(url.into()).map(Self)
    }

    pub(crate) async fn send(&self, alert: &Alert) -> Result<(), NotSent> {
        self.0.post(&Notification::of(alert)).await
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    version: &'static str,
    group_key: String,
    truncated_alerts: u64,
    status: String,
    receiver: &'static str,
    group_labels: BTreeMap<&'static str, String>,
    common_labels: BTreeMap<&'static str, String>,
    common_annotations: BTreeMap<&'static str, String>,
    #[serde(rename = "externalURL")]
    external_url: &'static str,
    alerts: [OneAlert; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OneAlert {
    status: String,
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'static str,
    fingerprint: String,
}

impl Notification {
    fn of(alert: &Alert) -> Self {
        let labels = BTreeMap::from([
            ("alertname", alert.rule.to_owned()),
            ("pool", alert.pool.to_string()),
            ("severity", severity(alert.level).to_owned()),
        ]);
        let annotations = BTreeMap::from([
            ("summary", alert.message.clone()),
            ("description", alert.line()),
        ]);
        let status = alert.state.to_string();
        let time = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
        Self {
            version: "4",
            group_key: format!(
                "{{}}:{{alertname=\"{}\", pool=\"{}\"}}",
                alert.rule, alert.pool
            ),
            truncated_alerts: 0,
            status: status.clone(),
            receiver: "app-db",
            group_labels: labels
                .iter()
                .filter(|(name, _)| **name != "severity")
                .map(|(name, value)| (*name, value.clone()))
                .collect(),
            common_labels: labels.clone(),
            common_annotations: annotations.clone(),
            external_url: "",
            alerts: [OneAlert {
                status,
                labels,
                annotations,
                starts_at: time(alert.started),
                // Go's zero time means that the alert has not ended.
                ends_at: match alert.state {
                    AlertState::Firing => "0001-01-01T00:00:00Z".to_owned(),
                    AlertState::Resolved => time(alert.at),
                },
                generator_url: "",
                fingerprint: alert.fingerprint(),
            }],
        }
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::Warning => "warning",
        Level::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::alert::tests::alert;

    #[test]
    fn the_json_is_alertmanagers() {
        let firing = alert(
            Level::Critical,
            AlertState::Firing,
            "pool `write` is <full>",
        );
        let json = serde_json::to_value(Notification::of(&firing)).unwrap();
        assert_eq!(
            (&json["version"], &json["status"]),
            (&"4".into(), &"firing".into())
        );
        let one = &json["alerts"][0];
        assert_eq!(one["labels"]["alertname"], "PoolFull");
        assert_eq!(one["labels"]["severity"], "critical");
        assert_eq!(one["annotations"]["summary"], "pool `write` is <full>");
        assert_eq!(one["startsAt"], "2026-08-01T11:50:00Z");
        assert_eq!(one["endsAt"], "0001-01-01T00:00:00Z");
        assert_eq!(
            json["groupKey"],
            "{}:{alertname=\"PoolFull\", pool=\"write\"}"
        );
        let resolved = alert(Level::Critical, AlertState::Resolved, "");
        let json = serde_json::to_value(Notification::of(&resolved)).unwrap();
        assert_eq!(json["status"], "resolved");
        assert_eq!(json["alerts"][0]["endsAt"], "2026-08-01T12:00:00Z");
        assert_eq!(json["alerts"][0]["fingerprint"], one["fingerprint"]);
    }
}
