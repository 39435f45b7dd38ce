//! A status of the credentials that reveals none of them.

use std::time::Duration;

use crate::credentials::source::CredentialsProblem;

/// The credentials at one instant. The status has nothing of the secret, neither its length nor a part of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialStatus {
    /// Where they come from: a value of `credentials.source`.
    pub source: &'static str,
    /// What the renewal is doing.
    pub state: CredentialState,
    /// The user that the pools log in as.
    pub user: String,
    /// The number of the generation of the write pool.
    pub generation: u64,
    /// How long ago the source last delivered; `None` for `static`.
    pub age: Option<Duration>,
    /// How much longer they are valid, if they expire.
    pub expires_in: Option<Duration>,
    /// How many fetches have succeeded.
    pub fetches: u64,
    /// How many fetches have failed.
    pub failed_fetches: u64,
    /// How many of the renewal's own logins the server has refused.
    pub refusals: u64,
    /// Why the last fetch failed, if none has succeeded since.
    pub last_problem: Option<CredentialsProblem>,
}

/// What the renewal of the credentials is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialState {
    /// There is nothing to do.
    #[default]
    Fresh,
    /// A fetch is due and has failed.
    Due,
    /// The source is being asked.
    Fetching,
    /// The renewal is trying known credentials at the server.
    Proving,
    /// The server accepts none of the known credentials.
    Refused,
}
