//! How a request can fail, and which answer the client gets.

use std::error::Error as StdError;

use app_db::{Error, Kind};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("{0}")]
    Invalid(&'static str),
    #[error("there is no account {0}")]
    UnknownAccount(i64),
    #[error("the account does not hold that much")]
    InsufficientFunds,
    #[error("no such account")]
    NoSuchAccount,
    #[error(transparent)]
    Json(#[from] JsonRejection),
    #[error(transparent)]
    Database(#[from] Error),
}

/// For `?` on queries inside transactions. It keeps what the pool knows about the error.
impl From<diesel::result::Error> for LedgerError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

impl LedgerError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::UnknownAccount(_) | Self::InsufficientFunds => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::NoSuchAccount => StatusCode::NOT_FOUND,
            Self::Json(rejection) => rejection.status(),
            Self::Database(error) => match error.kind() {
                Kind::Busy | Kind::Down | Kind::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Conflict => StatusCode::CONFLICT,
                // The client must look before it tries again, so it is not told to.
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }
}

impl IntoResponse for LedgerError {
    fn into_response(self) -> Response {
        let status = self.status();
        // What the database says is for the log; the client learns whether to try again.
        let message = match &self {
            Self::Database(error) => {
                tracing::warn!(error = error.report(), %status, "request failed");
                status.canonical_reason().unwrap_or_default().to_lowercase()
            }
            other => other.to_string(),
        };
        let mut response = (status, Json(json!({ "error": message }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A JSON body whose rejection is answered like every other error.
pub(crate) struct Body<T>(pub(crate) T);

impl<T, S: Sync> FromRequest<S> for Body<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
    S: Send,
{
    type Rejection = LedgerError;

    async fn from_request(request: Request, state: &S) -> Result<Self, LedgerError> {
        let Json(body) = Json::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
