//! Everything that the wire decides from a statement's text. It decides once for each text.

use crate::rules::Rules;
use crate::sql::alone::{must_stand_alone, needs_a_block, runs_a_procedure};
use crate::sql::keep::{is_keepable, may_be_last};
use crate::sql::local_settings::LocalSettings;
use crate::sql::reads::Reads;
use crate::sql::residue::Residue;
use crate::sql::settings::changes_meaning;
use crate::sql::statement_timeout::sets_timeout;
use crate::sql::tokens::{Sql, Token, Tokens};
use crate::sql::transactions::{controls_transaction, is_partial_rollback, may_commit};

/// The properties of a text, as far as its tokens tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    /// It may be kept prepared.
    pub(crate) keepable: bool,
    pub(crate) reads: Reads,
    /// It may change what later statements mean.
    pub(crate) changes_meaning: bool,
    /// Nothing may be put before it, because the server would then refuse it or do something else.
    pub(crate) stands_alone: bool,
    /// The server refuses it outside a transaction block.
    pub(crate) needs_a_block: bool,
    /// It may commit in the middle of its work, if it stands alone.
    pub(crate) runs_a_procedure: bool,
    pub(crate) may_commit: bool,
    /// It may begin or end a transaction.
    pub(crate) controls: bool,
    pub(crate) partial_rollback: bool,
    pub(crate) residue: Residue,
    /// COMMIT may travel behind it in the same request.
    pub(crate) may_be_last: bool,
    /// It may set the statement timeout.
    pub(crate) sets_timeout: bool,
    /// The highest number among its parameters.
    pub(crate) parameters: u16,
}

impl Traits {
    pub(crate) fn of(sql: Sql<'_>) -> Self {
        Self {
            keepable: is_keepable(sql),
            reads: Reads::of(sql),
            changes_meaning: changes_meaning(sql),
            stands_alone: must_stand_alone(sql),
            needs_a_block: needs_a_block(sql),
            runs_a_procedure: runs_a_procedure(sql),
            may_commit: may_commit(sql),
            controls: controls_transaction(sql),
            partial_rollback: is_partial_rollback(sql),
            residue: Residue::of(sql),
            may_be_last: may_be_last(sql),
            sets_timeout: sets_timeout(sql.text),
            parameters: parameters(sql),
        }
    }
}

impl Traits {
    /// Whether it runs with nothing before it. A procedure does, if it needs no setting before it; otherwise the
    /// server refuses the COMMIT inside it, if there is one.
    pub(crate) fn is_bare(self, rules: &Rules) -> bool {
        let needs_settings = rules
            .local_settings
            .as_ref()
            .is_some_and(LocalSettings::are_needed);
        self.stands_alone || self.needs_a_block || (self.runs_a_procedure && !needs_settings)
    }
}

fn parameters(sql: Sql<'_>) -> u16 {
    let numbers = Tokens::of(sql).map(|token| match token {
        Token::Parameter(number) => number,
        // Any parameter may follow after it.
        Token::Odd => u16::MAX,
        _ => 0,
    });
    numbers.max().unwrap_or_default()
}
