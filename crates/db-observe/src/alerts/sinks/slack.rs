//! Slack, through an incoming webhook.

use secrecy::SecretString;
use serde::Serialize;

use crate::alerts::alert::Alert;
use crate::alerts::sinks::http::{NoUrl, PostAddress};
use crate::alerts::sinks::not_sent::NotSent;

/// A channel of Slack, or of a program that understands the same messages.
#[derive(Clone, Debug)]
pub struct Slack(PostAddress);

#[derive(Serialize)]
struct Message {
    text: String,
    /// A name in a statement is neither markup nor a link that Slack may fetch.
    mrkdwn: bool,
    unfurl_links: bool,
}

impl Slack {
    /// The channel behind an incoming webhook, whose URL is a secret.
    ///
    /// # Errors
    ///
    /// [`NoUrl`] if it is not a valid URL.
    pub fn new(url: impl Into<SecretString>) -> Result<Self, NoUrl> {
        PostAddress::new(url.into()).map(Self)
    }

    pub(crate) async fn send(&self, alert: &Alert) -> Result<(), NotSent> {
        let message = Message {
            text: escaped(&alert.line()),
            mrkdwn: false,
            unfurl_links: false,
        };
        self.0.post(&message).await
    }
}

/// Escapes the three characters that have a meaning for Slack. It also puts a space without width after each `@`,
/// because Slack and similar services call everybody for `@here` and `@channel`.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('@', "@\u{200b}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// req 3.26
    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            escaped("a < b && <!channel>"),
            "a &lt; b &amp;&amp; &lt;!channel&gt;"
        );
        assert_eq!(escaped("@here"), "@\u{200b}here");
    }
}
