//! Where an error of the server is found again inside a diesel error.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use diesel::result::DatabaseErrorKind;

use crate::server_error::{Fields, OUTCOME_UNKNOWN, ServerError};

/// The errors of servers that diesel's errors are about, as far as they still may be asked for.
///
/// diesel's error keeps its information as a trait object without a way back to the type, and no field of
/// it is free for a code. The address of the message, which nobody else can have while it lives, leads from
/// the one to the other.
static IN_DIESEL: Mutex<Known> = Mutex::new(Known {
    put: Vec::new(),
    heard: VecDeque::new(),
});

struct Known {
    /// The errors that stand in a diesel error as its information.
    put: Vec<Weak<Fields>>,
    /// Those of which diesel-async has made an error of its own, and where its message lies. That error may be
    /// gone: its message must be the same too.
    heard: VecDeque<(usize, Arc<Fields>)>,
}

impl ServerError {
    /// Puts this error in the place of what diesel-async kept of it; then [`ServerError::behind`] finds it
    /// again.
    ///
    /// Only if it is the same error, or the server's last words before the end of the connection that
    /// diesel-async reports.
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

    /// Whether a diesel error says that the connection was lost and that nobody knows what became of what was
    /// asked last: a COMMIT, or a statement outside a transaction that may have changed something.
    #[must_use]
    pub fn is_outcome_unknown(error: &diesel::result::Error) -> bool {
        match error {
            diesel::result::Error::DatabaseError(_, info) => {
                info.message().starts_with(OUTCOME_UNKNOWN)
            }
            _ => false,
        }
    }

    /// Notes that diesel-async has just made this error of what the server said; then [`ServerError::behind`]
    /// finds it there, wherever that error goes.
    ///
    /// Only if the two are the same error. The last 256 are kept.
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

    /// The error of the server that a diesel error is about.
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

/// How tokio-postgres itself, and no server, says that a connection has ended.
fn is_end(message: &str) -> bool {
    message == "connection closed"
        || message.starts_with(OUTCOME_UNKNOWN)
        || message.starts_with("error communicating with the server")
}

/// How many errors of diesel-async's own are remembered with what the server said.
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

    /// What diesel-async has made of an error is known by where it lies and what it says.
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
