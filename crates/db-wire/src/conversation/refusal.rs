//! What the wire refuses in the server's place.

use crate::rules::Rules;
use crate::sql::residue::sets_for_everybody;
use crate::sql::text;

/// Why a statement cannot run on a session that is shared with others (case R32).
pub(super) fn refusal(rules: &Rules, sql: &[u8]) -> Option<String> {
    if rules.refuses_set && sets_for_everybody(sql) {
        return Some(SET_IS_SHARED.to_owned());
    }
    let what = rules
        .shared_session
        .then(|| text::needs_own_session(sql))
        .flatten()?;
    Some(format!(
        "{what} needs a session of its own, and this pool goes through a transaction-mode pooler; \
         use a pool with via = \"direct\", which connects by DATABASE_URL_DIRECT"
    ))
}

const SET_IS_SHARED: &str = "SET would change a session that a transaction-mode pooler shares with other \
     clients; use SET LOCAL in a transaction, a setting of the pool's profile, or a pool with \
     via = \"direct\"";

/// What PostgreSQL says to every statement of a failed transaction.
pub(super) const FAILED: &str =
    "current transaction is aborted, commands ignored until end of transaction block";
