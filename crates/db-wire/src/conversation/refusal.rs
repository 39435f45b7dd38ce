//! What the wire refuses in the server's place.

use crate::rules::Rules;
use crate::sql::session_objects::{needs_own_session, sets_for_everybody};
use crate::sql::tokens::Sql;

/// Why a text cannot run on a session that is shared with others.
pub(super) fn refusal(rules: &Rules, sql: Sql<'_>, in_transaction: bool) -> Option<String> {
    if !rules.shared_session {
        return None;
    }
    if rules.refuses_set
        && let Some(name) = sets_for_everybody(sql, rules.keeps_interval_style)
    {
        return Some(format!(
            "SET {name} would change a session that a transaction-mode pooler shares with other clients; use \
             SET LOCAL in a transaction, a setting of the pool's profile, or a pool with via = \"direct\""
        ));
    }
    let what = needs_own_session(sql, in_transaction)?;
    Some(format!(
        "{what} needs a session of its own, and this pool goes through a transaction-mode pooler; \
         use a pool with via = \"direct\", which connects by DATABASE_URL_DIRECT"
    ))
}

/// Why a text that must stand alone cannot run: these settings would have to come before it.
pub(super) fn needs_settings(rules: &Rules) -> Option<String> {
    let names = rules.local_settings.as_ref()?.names();
    let first = names.first()?;
    Some(format!(
        "this statement must stand alone, and this pool has to send {} before each statement, because a \
         transaction-mode pooler shares the session; give the role the setting (ALTER ROLE .. SET {first} = ..), or \
         use a pool with via = \"direct\"",
        names.join(", ")
    ))
}

/// What PostgreSQL says to every statement of a failed transaction.
pub(super) const FAILED: &str =
    "current transaction is aborted, commands ignored until end of transaction block";
