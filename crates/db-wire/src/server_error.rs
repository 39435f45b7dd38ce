//! An error as the server sent it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use diesel::result::DatabaseErrorKind;
use tokio_postgres::error::SqlState;

/// An error as the server sent it, with the code that diesel does not keep.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError(Arc<Fields>);

#[derive(Debug, PartialEq, Eq)]
struct Fields {
    severity: String,
    sqlstate: SqlState,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
    column: Option<String>,
    routine: Option<String>,
    position: Option<i32>,
}

/// The errors that stand as the information in a diesel error somewhere, as far as they still do.
///
/// diesel's error keeps its information as a trait object without a way back to the type, and no field of
/// it is free for a code. The address of the message, which nobody else can have while it lives, leads from
/// the one to the other.
static IN_DIESEL: Mutex<Vec<Weak<Fields>>> = Mutex::new(Vec::new());

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
                known.retain(|error| error.strong_count() > 0);
                known.push(Arc::downgrade(&self.0));
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
            diesel::result::Error::DatabaseError(_, info) => info.message() == OUTCOME_UNKNOWN,
            _ => false,
        }
    }

    /// The error that was put into a diesel error.
    #[must_use]
    pub fn behind(error: &diesel::result::Error) -> Option<Self> {
        let diesel::result::Error::DatabaseError(_, info) = error else {
            return None;
        };
        let known = IN_DIESEL.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = known.iter().filter_map(Weak::upgrade);
        known
            .find(|fields| std::ptr::eq(&*fields.message, info.message()))
            .map(Self)
    }

    /// Reads the body of an ErrorResponse.
    pub(crate) fn from_fields(body: &[u8]) -> Self {
        let mut fields = Fields {
            severity: String::new(),
            sqlstate: SqlState::INTERNAL_ERROR,
            message: String::new(),
            detail: None,
            hint: None,
            constraint: None,
            table: None,
            column: None,
            routine: None,
            position: None,
        };
        for field in body.split(|byte| *byte == 0) {
            let [name, value @ ..] = field else { continue };
            let value = String::from_utf8_lossy(value).into_owned();
            match name {
                // `V` is the severity in English; `S`, which comes first, is in the server's language.
                b'S' | b'V' => fields.severity = value,
                b'C' => fields.sqlstate = SqlState::from_code(&value),
                b'M' => fields.message = value,
                b'D' => fields.detail = Some(value),
                b'H' => fields.hint = Some(value),
                b'n' => fields.constraint = Some(value),
                b't' => fields.table = Some(value),
                b'c' => fields.column = Some(value),
                b'R' => fields.routine = Some(value),
                b'P' => fields.position = value.parse().ok(),
                _ => {}
            }
        }
        Self(Arc::new(fields))
    }

    /// The SQLSTATE, the same in every language of the server.
    #[must_use]
    pub fn sqlstate(&self) -> &SqlState {
        &self.0.sqlstate
    }

    /// `ERROR`, `FATAL` or `PANIC`.
    #[must_use]
    pub fn severity(&self) -> &str {
        &self.0.severity
    }

    /// The primary message, in the server's language.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The detail, which may quote the values of the failing row.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The hint.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The violated constraint.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }

    /// The table concerned.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        self.0.table.as_deref()
    }

    /// The column concerned.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        self.0.column.as_deref()
    }

    /// The routine of the server's source that raised it; a pooler's own errors have none.
    #[must_use]
    pub fn routine(&self) -> Option<&str> {
        self.0.routine.as_deref()
    }

    /// Whether the session ended with it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.0.severity != "ERROR"
    }

    /// Whether the whole transaction may be tried again: 40001 or 40P01.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        *self.sqlstate() == SqlState::T_R_SERIALIZATION_FAILURE
            || *self.sqlstate() == SqlState::T_R_DEADLOCK_DETECTED
    }
}

/// How tokio-postgres itself, and no server, says that a connection has ended.
fn is_end(message: &str) -> bool {
    message == "connection closed"
        || message == OUTCOME_UNKNOWN
        || message.starts_with("error communicating with the server")
}

/// What the wire says when a connection ends with such a request unanswered.
pub(crate) const OUTCOME_UNKNOWN: &str =
    "connection closed before the server answered, outcome unknown";

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (SQLSTATE {})",
            self.message(),
            self.sqlstate().code()
        )
    }
}

impl StdError for ServerError {}

impl diesel::result::DatabaseErrorInformation for ServerError {
    fn message(&self) -> &str {
        self.message()
    }

    fn details(&self) -> Option<&str> {
        self.detail()
    }

    fn hint(&self) -> Option<&str> {
        self.hint()
    }

    fn table_name(&self) -> Option<&str> {
        self.table()
    }

    fn column_name(&self) -> Option<&str> {
        self.column()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.constraint()
    }

    fn statement_position(&self) -> Option<i32> {
        self.0.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_is_taken_in_english_whatever_the_servers_language() {
        let error = ServerError::from_fields(b"SFEHLER\0VFATAL\0C57P01\0Mende\0\0");
        assert!(error.is_fatal());
        assert_eq!(error.sqlstate(), &SqlState::ADMIN_SHUTDOWN);
        assert!(!error.is_conflict());
    }

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

    #[test]
    fn a_body_cut_short_is_read_as_far_as_it_goes() {
        let error = ServerError::from_fields(b"VERROR\0C400");
        assert_eq!(error.sqlstate().code(), "400");
    }
}
