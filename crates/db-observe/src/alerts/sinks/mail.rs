//! Mail, only for critical alerts.

#![expect(
    clippy::disallowed_methods,
    reason = "the URL of a mail server has a password, and this is where it goes to the client that sends"
)]

use std::fmt;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};

use crate::alerts::alert::Alert;
use crate::alerts::sinks::not_sent::NotSent;

/// Recipients, and the SMTP server that sends them mail.
#[derive(Clone)]
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

/// Why mail cannot be sent this way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// The server's URL is not valid. Its text may hold a password, and is not shown.
    #[error(
        "the SMTP server's URL is not understood; expected smtps://user:password@host, or smtp://host:port"
    )]
    Url,
    /// An address is not valid.
    #[error("{address:?} is no mail address")]
    Address {
        /// The address as given.
        address: String,
    },
    /// There is no recipient.
    #[error("there is nobody to send mail to")]
    Nobody,
}

impl Mail {
    /// Mail through the server at a URL, such as `smtps://user:password@mail.example` or
    /// `smtp://localhost:25`.
    ///
    /// # Errors
    ///
    /// [`MailError`] says what is wrong, without the URL.
    pub fn new<'a>(
        server: impl Into<SecretString>,
        from: &str,
        to: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, MailError> {
        let server = server.into();
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(server.expose_secret());
        let to: Vec<_> = to.into_iter().map(mailbox).collect::<Result<_, _>>()?;
        if to.is_empty() {
            return Err(MailError::Nobody);
        }
        Ok(Self {
            transport: transport
                .map_err(|_| MailError::Url)?
                .timeout(Some(Duration::from_secs(10)))
                .build(),
            from: mailbox(from)?,
            to,
        })
    }

    pub(crate) async fn send(&self, alert: &Alert) -> Result<(), NotSent> {
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(SUBJECT)
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message
            .body(format!("{}\r\n", alert.line()))
            .map_err(|error| NotSent::because(error.to_string()))?;
        match self.transport.send(message).await {
            Ok(_accepted) => Ok(()),
            Err(error) => Err(NotSent::because(error.to_string())),
        }
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

fn mailbox(address: &str) -> Result<Mailbox, MailError> {
    address.parse().map_err(|_| MailError::Address {
        address: address.to_owned(),
    })
}

const SUBJECT: &str = "DB Pool Alert";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let url = "smtp//user:canary@host";
        let error = Mail::new(url, "a@b.example", ["c@d.example"]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
        let mail =
            |from: &str, to: &[&str]| Mail::new("smtp://localhost:1", from, to.iter().copied());
        assert!(matches!(
            mail("nobody", &["c@d.example"]),
            Err(MailError::Address { .. })
        ));
        assert!(matches!(mail("a@b.example", &[]), Err(MailError::Nobody)));
        let mail = Mail::new(
            "smtp://u:canary@localhost:1",
            "a@b.example",
            ["c@d.example"],
        );
        assert!(!format!("{:?}", mail.unwrap()).contains("canary"));
    }
}
