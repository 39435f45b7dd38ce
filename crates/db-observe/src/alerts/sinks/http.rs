//! One POST of JSON, for sinks that use HTTP.

#![expect(
    clippy::disallowed_methods,
    reason = "the URL of a webhook is a secret, and this is where it goes to the client that posts to it"
)]

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::alerts::sinks::not_sent::NotSent;

/// An address to post to. It is a secret, because anybody who knows it can post there.
///
/// The client follows no redirect: the message is only for this address.
#[derive(Clone)]
pub(crate) struct PostAddress {
    url: SecretString,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Nobody can post to this URL.
#[derive(Debug, thiserror::Error)]
#[error("the address of a sink is no http or https URL, or it has a user in it")]
#[non_exhaustive]
pub struct NoUrl;

impl PostAddress {
    /// Reads the system's certificates.
    pub(crate) fn new(url: SecretString) -> Result<Self, NoUrl> {
        let parsed: Uri = url.expose_secret().parse().map_err(|_| NoUrl)?;
        let is_http = matches!(parsed.scheme_str(), Some("http" | "https"));
        let has_host = parsed.host().is_some_and(|host| !host.is_empty());
        let has_user = parsed
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        if !is_http || !has_host || has_user {
            return Err(NoUrl);
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls())
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { url, client })
    }

    /// Posts once.
    pub(crate) async fn post(&self, body: &impl Serialize) -> Result<(), NotSent> {
        let body = serde_json::to_vec(body).map_err(|error| NotSent::because(error.to_string()))?;
        let request = Request::post(self.url.expose_secret())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| NotSent::because(error.to_string()))?;
        match self.client.request(request).await {
            Ok(response) => judge(response.status(), response.headers()),
            Err(error) => Err(NotSent::because(chain(&error))),
        }
    }
}

impl fmt::Debug for PostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostAddress(***)")
    }
}

fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), NotSent> {
    if status.is_success() {
        return Ok(());
    }
    let wants_time = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let seconds = headers.get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(NotSent {
        reason: format!("answered with {}", status.as_u16()),
        retry_after: seconds.filter(|_| wants_time).map(Duration::from_secs),
    })
}

/// The error with its causes, which are about the network and never name the address.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn tls() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // A certificate that rustls does not understand is ignored: it has signed no server's
        // certificate.
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
            "https://user:canary@hooks.example/T",
        ] {
            let error = PostAddress::new(wrong.into()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
        let address = PostAddress::new("https://hooks.example/T/canary".into()).unwrap();
        assert_eq!(format!("{address:?}"), "PostAddress(***)");
    }
}
