//! The status page: an axum router to mount, read-only.

mod hosts;
mod view;

use std::fmt;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{OriginalUri, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::exporter::Format;
use crate::operations::Operations;
use crate::page::hosts::Hosts;
use crate::page::view::StatusPage;

/// The status page of a database, with its JSON and its metrics beside it.
///
/// It exists only where a service mounts it. It answers only requests whose host is a name of this machine, or
/// another allowed name. A service that makes it public must put its own authentication before it.
///
/// | path | answer |
/// |---|---|
/// | the prefix, with or without a slash, and `index.html` | the page, which needs no script |
/// | `status.json` | the same as JSON: [`StatusReport`](crate::StatusReport) |
/// | `metrics` | Prometheus' text, or OpenMetrics if the client asks for it |
#[derive(Clone)]
pub struct Page {
    operations: Operations,
    hosts: Hosts,
}

impl Page {
    /// The page for these operations.
    #[must_use]
    pub fn new(operations: &Operations) -> Self {
        Self {
            operations: operations.clone(),
            hosts: Hosts::default(),
        }
    }

    /// Answers requests for this host too, with any port.
    #[must_use]
    pub fn allow_host(mut self, host: &str) -> Self {
        self.hosts.allow(host);
        self
    }

    /// The router for the root of a port of its own. For a prefix use [`Page::at`]: below `nest`, axum does not answer
    /// the prefix with a slash.
    pub fn router(self) -> Router {
        let state = Arc::new(self);
        Router::new()
            .route("/", get(index))
            .route("/index.html", get(index))
            .route("/style.css", get(style))
            .route("/status.json", get(status))
            .route("/metrics", get(metrics))
            .layer(from_fn_with_state(Arc::clone(&state), guard))
            .with_state(state)
    }

    /// The router with everything below a prefix such as `/ops/db`. Merge it into the service's router.
    pub fn at(self, prefix: &str) -> Router {
        match prefix.trim_end_matches('/') {
            "" => self.router(),
            prefix => Router::new().nest_service(prefix, self.router()),
        }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

/// Refuses other host names, and sets headers so that the answer is not cached, embedded or run as a script.
async fn guard(State(page): State<Arc<Page>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    let mut response = match host.is_some_and(|host| page.hosts.are_allowed(host)) {
        true => next.run(request).await,
        false => StatusCode::MISDIRECTED_REQUEST.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn index(State(page): State<Arc<Page>>, OriginalUri(uri): OriginalUri) -> Response {
    let report = page.operations.report();
    match StatusPage::new(&report, uri.path()).render() {
        Ok(html) => ([(header::CONTENT_TYPE, HTML)], html).into_response(),
        Err(error) => {
            tracing::error!(target: "app_db::page", %error, "the status page cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

async fn status(State(page): State<Arc<Page>>) -> Response {
    match serde_json::to_string_pretty(&page.operations.report()) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => {
            tracing::error!(target: "app_db::page", %error, "the status cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn metrics(State(page): State<Arc<Page>>, headers: HeaderMap) -> impl IntoResponse {
    let accept = headers.get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let text = page.operations.exporter().encode(format);
    ([(header::CONTENT_TYPE, format.content_type())], text)
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = include_str!("../templates/style.css");
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];
