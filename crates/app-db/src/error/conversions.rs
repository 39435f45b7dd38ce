//! How an error keeps its kind on its way through diesel's error, a box, and an error of the caller's own.

use std::error::Error as StdError;
use std::sync::Arc;

use db_pool::plumbing::Observed;
use db_pool::{Kind, ServerError};
use diesel::result::{DatabaseErrorKind, Error as QueryError};

use crate::error::exhausted::Exhausted;
use crate::error::{Error, kind_of_query};

impl Error {
    /// Finds an error of this library inside the error that a closure returned, whatever its type.
    ///
    /// A failed statement and a conflict travel as diesel's own error, which is no error of this library:
    /// [`Error::kind_of`] knows these too, and `Error::from` makes one of diesel's error.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        causes(error).find_map(<dyn StdError>::downcast_ref)
    }

    /// The kind of any error, if an error of this library or of diesel is in it or among its causes.
    #[must_use]
    pub fn kind_of(error: &(dyn StdError + 'static)) -> Option<Kind> {
        causes(error).find_map(|error| {
            if let Some(ours) = error.downcast_ref::<Self>() {
                return Some(ours.kind());
            }
            match error.downcast_ref::<QueryError>() {
                // It has one of ours in it, or a cause that says more.
                None | Some(QueryError::QueryBuilderError(_)) => None,
                Some(query) => Some(kind_of_query(query)),
            }
        })
    }
}

/// An error and its causes.
fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e (dyn StdError + 'static)> {
    // diesel prints the error inside this variant, but does not return it from `source()`.
    match error.downcast_ref::<QueryError>() {
        Some(QueryError::QueryBuilderError(inner)) => Some(&**inner),
        _ => error.source(),
    }
}

tokio::task_local! {
    /// The connection on which the current work runs.
    pub(crate) static CURRENT_CONNECTION: Arc<Observed>;
}

/// An error of ours that was made one of diesel's comes out as it was. Any other one is [`Error::Query`]: inside
/// work that a helper runs with what the server said, the exact SQLSTATE among it.
impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        let error = match error {
            QueryError::QueryBuilderError(inner) => match inner.downcast::<Self>() {
                Ok(ours) => return *ours,
                Err(inner) => QueryError::QueryBuilderError(inner),
            },
            error => error,
        };
        if let Some(conflict) = conflict_in(&error) {
            return conflict;
        }
        let said = CURRENT_CONNECTION
            .try_with(|observed| observed.last_error())
            .ok()
            .flatten();
        Self::Query(match said.or_else(|| ServerError::behind(&error)) {
            Some(said) => said.put_into(error),
            None => error,
        })
    }
}

/// For closures that return `QueryResult`. A conflict becomes the diesel error of its last attempt. Errors
/// that diesel has no variant for travel in a box, where [`Error::find`] finds them. `Error::from` makes of
/// either what it was.
impl From<Error> for QueryError {
    fn from(error: Error) -> Self {
        match error {
            Error::Query(error) => error,
            Error::Conflict {
                attempts,
                exhausted,
                first,
                last,
            } => {
                let message = Box::new(last.message().to_owned());
                let kind = DatabaseErrorKind::SerializationFailure;
                let conflict = GivenUp {
                    attempts,
                    exhausted,
                    first,
                    last: last.clone(),
                };
                last.with_rider(Arc::new(conflict))
                    .put_into(Self::DatabaseError(kind, message))
            }
            other => Self::QueryBuilderError(Box::new(other)),
        }
    }
}

/// [`Error::Conflict`] on its way through diesel's error.
struct GivenUp {
    attempts: u32,
    exhausted: Exhausted,
    first: ServerError,
    last: ServerError,
}

fn conflict_in(error: &QueryError) -> Option<Error> {
    let said = ServerError::behind(error)?;
    let given_up = said.rider()?.downcast_ref::<GivenUp>()?;
    Some(Error::Conflict {
        attempts: given_up.attempts,
        exhausted: given_up.exhausted,
        first: given_up.first.clone(),
        last: given_up.last.clone(),
    })
}

#[cfg(test)]
mod tests;
