//! Everything that is decided by a statement's text, decided once.

use crate::sql::alone::{must_stand_alone, needs_a_block};
use crate::sql::keep::is_keepable;
use crate::sql::reads::Reads;
use crate::sql::residue::Residue;
use crate::sql::settings::changes_meaning;
use crate::sql::tokens::{Sql, Token, Tokens};
use crate::sql::transactions::{controls_transaction, is_partial_rollback, may_commit};

/// What a text is, as far as its tokens tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    /// It may be kept prepared.
    pub(crate) keepable: bool,
    pub(crate) reads: Reads,
    /// It may change what later statements mean.
    pub(crate) changes_meaning: bool,
    /// Nothing may be put before it: the server refuses it then, or does something else.
    pub(crate) stands_alone: bool,
    /// It is refused outside a transaction block.
    pub(crate) needs_a_block: bool,
    pub(crate) may_commit: bool,
    /// It may begin or end a transaction.
    pub(crate) controls: bool,
    pub(crate) partial_rollback: bool,
    pub(crate) residue: Residue,
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
            may_commit: may_commit(sql),
            controls: controls_transaction(sql),
            partial_rollback: is_partial_rollback(sql),
            residue: Residue::of(sql),
            parameters: parameters(sql),
        }
    }
}

fn parameters(sql: Sql<'_>) -> u16 {
    let numbers = Tokens::of(sql).map(|token| match token {
        Token::Parameter(number) => number,
        // Behind it there may be any.
        Token::Odd => u16::MAX,
        _ => 0,
    });
    numbers.max().unwrap_or_default()
}
