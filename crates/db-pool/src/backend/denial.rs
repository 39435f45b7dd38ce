//! What a session is denied: its role may have been revoked.

use db_wire::Observed;
use tokio_postgres::error::SqlState;

use crate::generation::Member;
use crate::registry::Registry;

/// Tells the owner of the credentials where the server denied something to a session that has the present ones (42501).
pub(crate) fn report(registry: &Registry, observed: &Observed, member: Option<&Member>) {
    let Some(logins) = &registry.logins else {
        return;
    };
    let is_denied = observed.errors() > 0
        && (observed.last_error())
            .is_some_and(|error| *error.sqlstate() == SqlState::INSUFFICIENT_PRIVILEGE);
    if is_denied && member.is_some_and(|member| registry.generations.is_current(member)) {
        logins.denied();
    }
}
