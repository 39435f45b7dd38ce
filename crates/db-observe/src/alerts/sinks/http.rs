//! One POST of JSON, for sinks that are reached by HTTP.

#![expect(
    clippy::disallowed_methods,
    reason = "the URL of a webhook is a secret, and this is where it goes to the client that posts to it"
)]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode, redirect};
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::alerts::sinks::not_sent::NotSent;

/// An address that is posted to. It is a secret, since anybody who knows it may post there too.
#[derive(Clone)]
pub(crate) struct PostAddress {
    url: SecretString,
    client: Client,
}

/// The address is none that can be posted to.
#[derive(Debug, thiserror::Error)]
#[error("the address of a sink is no http or https URL")]
#[non_exhaustive]
pub struct NoUrl;

impl PostAddress {
    /// Reads the system's certificates.
    pub(crate) fn new(url: SecretString) -> Result<Self, NoUrl> {
        let parsed = reqwest::Url::parse(url.expose_secret()).map_err(|_| NoUrl)?;
        if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() {
            return Err(NoUrl);
        }
        let client = Client::builder()
            // What it posts is for the one that it was told, and for nobody to whom that one points.
            .redirect(redirect::Policy::none())
            .timeout(Duration::from_secs(10))
            .tls_backend_preconfigured(tls())
            .build()
            .map_err(|_| NoUrl)?;
        Ok(Self { url, client })
    }

    /// Posts once.
    pub(crate) async fn post(&self, body: &impl Serialize) -> Result<(), NotSent> {
        let body = serde_json::to_vec(body).map_err(|error| NotSent::because(error.to_string()))?;
        let request = self
            .client
            .post(self.url.expose_secret())
            .header("content-type", "application/json")
            .body(body);
        match request.send().await {
            Ok(response) => judge(&response),
            Err(error) => Err(NotSent::because(without_address(error))),
        }
    }
}

impl fmt::Debug for PostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostAddress(***)")
    }
}

fn judge(response: &Response) -> Result<(), NotSent> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let wants_time = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let seconds = response.headers().get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(NotSent {
        reason: format!("answered with {}", status.as_u16()),
        retry_after: seconds.filter(|_| wants_time).map(Duration::from_secs),
    })
}

/// The error with its causes, which are about the network and not about the address.
fn without_address(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One that is not understood is one that nothing is signed with.
        let _unknown = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
        .unwrap_or_else(|_| unreachable!("ring speaks TLS 1.2 and 1.3"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_and_a_secret() {
        for wrong in [
            "",
            "hooks.example/T/canary",
            "ftp://h/canary",
            "file:///canary",
            "http://",
        ] {
            let error = PostAddress::new(wrong.into()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        let address = PostAddress::new("https://hooks.example/T/canary".into()).unwrap();
        assert_eq!(format!("{address:?}"), "PostAddress(***)");
    }
}
