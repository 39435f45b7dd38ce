//! The server denies something to a session, perhaps because its role was revoked.

use db_wire::Observed;
use tokio_postgres::error::SqlState;

use crate::generation::Member;
use crate::registry::Registry;

/// Tells the owner of the credentials that the server has denied something (42501) to a session with the present
/// ones.
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
