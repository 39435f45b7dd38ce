//! How a request can fail, and which answer the client gets.

use app_db::{Error, Kind};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrdersError {
    #[error("{0}")]
    Invalid(&'static str),
    #[error("no such order")]
    NoSuchOrder,
    #[error(transparent)]
    Database(#[from] Error),
}

/// So that `?` works on queries inside transactions.
impl From<diesel::result::Error> for OrdersError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Database(error.into())
    }
}

impl OrdersError {
    /// Whether the reference is taken. No other value of an order has to be unique.
    fn is_taken(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_unique_violation())
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoSuchOrder => StatusCode::NOT_FOUND,
            _ if self.is_taken() => StatusCode::CONFLICT,
            Self::Database(error) => match error.kind() {
                Kind::Busy | Kind::Down | Kind::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
                Kind::Conflict => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }
}

impl IntoResponse for OrdersError {
    fn into_response(self) -> Response {
        let status = self.status();
        // What the database says is for the log; the client learns what to do.
        let message = match &self {
            _ if self.is_taken() => "there is an order with this reference".to_owned(),
            Self::Database(error) => {
                tracing::warn!(error = error as &dyn std::error::Error, %status, "a request failed");
                status.canonical_reason().unwrap_or_default().to_lowercase()
            }
            other => other.to_string(),
        };
        let mut response = (status, Json(json!({ "error": message }))).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let seconds = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
