//! How an error of the server is found again inside a diesel error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use diesel::result::DatabaseErrorKind;

use crate::server_error::{Fields, OUTCOME_UNKNOWN, ServerError};

/// The server errors behind diesel errors, as long as somebody may still ask for them.
///
/// diesel's error keeps its information as a trait object without a way back to the type, and has no free
/// field for a code. The address of the message leads from one to the other: nothing else can have that
/// address while the message lives.
static IN_DIESEL: Mutex<Known> = Mutex::new(Known {
    put: Vec::new(),
    heard: VecDeque::new(),
});

struct Known {
    /// The errors that are the information inside a diesel error.
    put: Vec<Weak<Fields>>,
    /// The errors from which diesel-async has made an error of its own, and the address of that error's
    /// message. That error may be gone already, so the message must match too.
    heard: VecDeque<(usize, Arc<Fields>)>,
}

impl ServerError {
    /// Replaces the information that diesel-async kept with this error, so that [`ServerError::behind`] finds
    /// it again.
    ///
    /// It does so only if both are the same error, or if this one is the server's last words before the end of
    /// the connection that diesel-async reports.
    #[must_use]
    pub fn put_into(&self, error: diesel::result::Error) -> diesel::result::Error {
        match error {
            diesel::result::Error::DatabaseError(kind, info)
                if info.message() == self.message()
                    || (self.is_fatal() && is_end(info.message())) =>
            {
                let closed = DatabaseErrorKind::ClosedConnection;
                let kind = if self.is_fatal() { closed } else { kind };
                let mut known = IN_DIESEL.lock().unwrap_or_else(PoisonError::into_inner);
                known.put.retain(|error| error.strong_count() > 0);
                known.put.push(Arc::downgrade(&self.0));
                diesel::result::Error::DatabaseError(kind, Box::new(self.clone()))
            }
            error => error,
        }
    }

    /// Whether a diesel error says that the connection has ended.
    #[must_use]
    pub fn is_end_of_connection(error: &diesel::result::Error) -> bool {
        match error {
            diesel::result::Error::DatabaseError(DatabaseErrorKind::ClosedConnection, _) => true,
            diesel::result::Error::DatabaseError(_, info) => is_end(info.message()),
            _ => false,
        }
    }

    /// Whether a diesel error says that the connection was lost and that the outcome of the last request is
    /// unknown. That request was a COMMIT, or a statement outside a transaction that may have changed
    /// something.
    #[must_use]
    pub fn is_outcome_unknown(error: &diesel::result::Error) -> bool {
        match error {
            diesel::result::Error::DatabaseError(_, info) => {
                info.message().starts_with(OUTCOME_UNKNOWN)
            }
            _ => false,
        }
    }

    /// Notes that diesel-async has just made this diesel error from the server's error.
    /// [`ServerError::behind`] then finds it, wherever that error goes.
    ///
    /// It does so only if the two are the same error. The last 256 are kept.
    pub fn heard_as(&self, error: &diesel::result::Error) {
        let diesel::result::Error::DatabaseError(_, info) = error else {
            return;
        };
        if info.message() != self.message() {
            return;
        }
        let mut known = IN_DIESEL.lock().unwrap_or_else(PoisonError::into_inner);
        if known.heard.len() == MAX_HEARD {
            known.heard.pop_front();
        }
        let entry = (info.message().as_ptr().addr(), Arc::clone(&self.0));
        known.heard.push_back(entry);
    }

    /// The server's error behind a diesel error.
    #[must_use]
    pub fn behind(error: &diesel::result::Error) -> Option<Self> {
        let diesel::result::Error::DatabaseError(_, info) = error else {
            return None;
        };
        let message = info.message();
        let known = IN_DIESEL.lock().unwrap_or_else(PoisonError::into_inner);
        let mut put = known.put.iter().filter_map(Weak::upgrade);
        let put = put.find(|fields| std::ptr::eq(&*fields.message, message));
        put.or_else(|| {
            let mut newest_first = known.heard.iter().rev();
            let heard = newest_first.find(|(address, fields)| {
                fields.message == message && *address == message.as_ptr().addr()
            });
            heard.map(|(_, fields)| Arc::clone(fields))
        })
        .map(Self)
    }
}

/// Whether tokio-postgres itself, and not a server, says with this message that the connection has ended.
fn is_end(message: &str) -> bool {
    message == "connection closed"
        || message.starts_with(OUTCOME_UNKNOWN)
        || message.starts_with("error communicating with the server")
}

/// How many of diesel-async's own errors are remembered with the server's error.
const MAX_HEARD: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_again_inside_diesels() {
        use diesel::result::{DatabaseErrorKind, Error};
        let error = ServerError::from_fields(b"VERROR\0C57014\0Mzu lang\0P7\0\0");
        let of = |message: &str| {
            Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()))
        };
        assert_eq!(ServerError::behind(&of("zu lang")), None);
        let put = error.put_into(of("zu lang"));
        drop(error);
        assert_eq!(
            ServerError::behind(&put).unwrap().sqlstate().code(),
            "57014"
        );
        let Error::DatabaseError(_, info) = &put else {
            panic!("{put:?}")
        };
        assert_eq!(info.statement_position(), Some(7));
        let another = ServerError::from_fields(b"VERROR\0C40001\0Mother\0\0");
        assert_eq!(ServerError::behind(&another.put_into(of("zu lang"))), None);
    }

    /// An error that diesel-async made is recognized by the address of its message and by its text.
    #[test]
    fn an_error_that_diesel_made_itself_is_known_by_its_place() {
        use diesel::result::{DatabaseErrorKind, Error};
        let said = ServerError::from_fields(b"VERROR\0C40P01\0Mdeadlock detected\0\0");
        let of = |message: &str| {
            Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned()))
        };
        let (heard, another) = (of("deadlock detected"), of("deadlock detected"));
        said.heard_as(&heard);
        said.heard_as(&of("something else"));
        assert!(ServerError::behind(&heard).is_some_and(|said| said.is_conflict()));
        assert_eq!(ServerError::behind(&another), None);
    }
}
