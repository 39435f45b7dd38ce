//! What becomes of a backend that comes back.

use crate::backend::close_reason::CloseReason;

/// What becomes of a backend that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    /// The answer to the last statement is still arriving, although its holder has taken the
    /// result.
    Settle,
    /// Something may have been left in its session.
    Reset,
    Discard(CloseReason),
}
