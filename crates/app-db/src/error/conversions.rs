//! How an error keeps its kind inside diesel's error, a box, or the caller's own error.

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
    /// It does not find a failed statement or a conflict that travels as diesel's own error. [`Error::kind_of`]
    /// knows these too, and `Error::from` converts a diesel error.
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
                // This variant may contain one of our errors or a cause that says more, so the search goes on
                // inside it.
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

/// If the diesel error was made from one of ours, the result is that error again. Any other one becomes
/// [`Error::Query`]. Inside work that a helper runs, it then also has the server's error with the exact
/// SQLSTATE.
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

/// For closures that return `QueryResult`. A conflict becomes the diesel error of its last attempt. An error
/// for which diesel has no variant travels in a box, where [`Error::find`] finds it. `Error::from` restores
/// both.
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
