//! An error as the server sent it.

mod in_diesel;

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use tokio_postgres::error::SqlState;

/// An error as the server sent it, with the code that diesel does not keep.
///
/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError(Arc<Fields>);

#[derive(Clone, Debug, PartialEq, Eq)]
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
    rider: Rider,
}

/// What somebody has attached to an error on its way through diesel. It is not part of the server's message.
#[derive(Clone, Debug, Default)]
struct Rider(Option<Arc<dyn Any + Send + Sync>>);

impl PartialEq for Rider {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Rider {}

impl ServerError {
    /// The same error, with something attached that [`ServerError::rider`] returns.
    #[must_use]
    pub fn with_rider(&self, rider: Arc<dyn Any + Send + Sync>) -> Self {
        let rider = Rider(Some(rider));
        Self(Arc::new(Fields {
            rider,
            ..Fields::clone(&self.0)
        }))
    }

    /// What was attached to this error with [`ServerError::with_rider`].
    #[must_use]
    pub fn rider(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.0.rider.0.as_ref()
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
            rider: Rider::default(),
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

    /// Makes an error from a severity, a code and a message, for the tests of other crates. It counts as a pooler's,
    /// because it has no routine.
    #[doc(hidden)]
    #[must_use]
    pub fn for_tests(said: &str) -> Self {
        let mut parts = said.splitn(3, ' ');
        let mut part = || parts.next().unwrap_or_default();
        let fields = format!("V{}\0C{}\0M{}\0\0", part(), part(), part());
        Self::from_fields(fields.as_bytes())
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

    /// The routine in the server's source that raised it. A pooler's own errors have none.
    #[must_use]
    pub fn routine(&self) -> Option<&str> {
        self.0.routine.as_deref()
    }

    /// Whether the error ended the session.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.0.severity != "ERROR"
    }

    /// Whether a pooler or proxy raised it in the server's place: PostgreSQL names the routine, and others do not.
    #[must_use]
    pub fn is_poolers(&self) -> bool {
        self.routine().is_none()
    }

    /// Whether a pooler raised it because it found no server connection in time, so that nothing has run.
    #[must_use]
    pub fn is_wait_for_server(&self) -> bool {
        self.is_poolers() && self.message().contains("query_wait_timeout")
    }

    /// Whether a pooler raised it before it gave its client a server connection, so that nothing has run.
    pub(crate) fn is_from_before_any_server(&self) -> bool {
        self.is_wait_for_server()
            || (self.is_poolers() && self.message().contains("client_idle_timeout"))
    }

    /// Whether the server ended the session because the client was idle. The server has then not read what was sent
    /// meanwhile, not even a COMMIT.
    #[must_use]
    pub fn is_for_idleness(&self) -> bool {
        let code = self.sqlstate();
        let idle = *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            || *code == SqlState::IDLE_SESSION_TIMEOUT;
        idle && !self.is_poolers()
    }

    /// Whether the error says that the connection, or the one behind the pooler, has ended or is not available: the
    /// session ended, or the pooler reports class 08.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.is_fatal() || (self.is_poolers() && self.sqlstate().code().starts_with("08"))
    }

    /// Whether the whole transaction may be retried: 40001 or 40P01.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        *self.sqlstate() == SqlState::T_R_SERIALIZATION_FAILURE
            || *self.sqlstate() == SqlState::T_R_DEADLOCK_DETECTED
    }
}

/// What the wire says when a connection ends and the outcome of a request is unknown. A pooler's last words may
/// follow.
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
    fn a_body_cut_short_is_read_as_far_as_it_goes() {
        let error = ServerError::from_fields(b"VERROR\0C400");
        assert_eq!(error.sqlstate().code(), "400");
    }
}
