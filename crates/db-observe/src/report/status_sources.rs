//! What a report is made from.

use std::time::SystemTime;

use app_db::{Snapshot, StatementStats};

use crate::advice::Advice;
use crate::alerts::alert::Alert;
use crate::alerts::outbox::OutboxStatus;
use crate::monitor::Monitor;

/// What a report is made from.
pub(crate) struct StatusSources<'s> {
    pub(crate) at: SystemTime,
    pub(crate) snapshot: &'s Snapshot,
    pub(crate) statements: &'s [StatementStats],
    pub(crate) monitor: &'s Monitor,
    pub(crate) firing: &'s [Alert],
    pub(crate) told: &'s [Alert],
    pub(crate) outboxes: &'s [OutboxStatus],
    pub(crate) advice: &'s [(String, Vec<Advice>)],
}
