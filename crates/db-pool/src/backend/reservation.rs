//! The counts that a live backend is part of.

use crate::backend::slots::Slot;
use crate::generation::Member;
use crate::queue::gate::Permit;

/// The counts that a backend is part of. It leaves them when the server has closed it.
///
/// The fields are dropped in this order, so that a caller that passes the gate finds the slot free.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) slot: Slot,
    pub(crate) member: Member,
    /// The permit of a holder that returned the backend in an unfit state.
    pub(crate) permit: Option<Permit>,
}

impl Reservation {
    pub(crate) fn new(slot: Slot, member: Member) -> Self {
        Self {
            slot,
            member,
            permit: None,
        }
    }
}
