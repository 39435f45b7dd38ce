//! A stream of notifications.

use std::pin::Pin;
use std::task::{Context, Poll};

use db_pool::Heard;
use futures_util::{Stream, StreamExt};

use crate::error::Error;

/// A stream of the notifications of some channels; see
/// [`Database::listen`](crate::Database::listen).
///
/// Dropping it ends the listening.
#[derive(Debug)]
#[must_use = "a listener that nobody reads falls behind"]
pub struct Listener(Listening);

#[derive(Debug)]
enum Listening {
    To(db_pool::Listener),
    /// The error, which the stream yields once.
    Refused(Option<Error>),
}

impl Listener {
    pub(crate) fn new(listening: Result<db_pool::Listener, Error>) -> Self {
        Self(match listening {
            Ok(listener) => Listening::To(listener),
            Err(error) => Listening::Refused(Some(error)),
        })
    }

    /// The next notification or gap; `None` when the database shuts down.
    ///
    /// # Errors
    ///
    /// As [`Database::listen`](crate::Database::listen). Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Heard, Error>> {
        StreamExt::next(self).await
    }
}

impl Stream for Listener {
    type Item = Result<Heard, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Listening::To(listener) => listener
                .poll_next_unpin(context)
                .map(|heard| heard.map(|heard| heard.map_err(Error::Pool))),
            Listening::Refused(error) => Poll::Ready(error.take().map(Err)),
        }
    }
}
