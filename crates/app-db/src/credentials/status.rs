//! What can be told of the credentials without telling any of them.

use std::time::Duration;

use crate::credentials::source::CredentialsProblem;

/// The credentials at one instant. It has nothing of the secret, neither its length nor a part of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialStatus {
    /// Where they come from: a value of `credentials.source`.
    pub source: &'static str,
    /// What the renewal is doing.
    pub state: CredentialState,
    /// The user in place.
    pub user: String,
    /// The number of the generation of the write pool.
    pub generation: u64,
    /// How long ago the source has delivered something; `None` for `static`.
    pub age: Option<Duration>,
    /// How long they are still valid, if they expire.
    pub expires_in: Option<Duration>,
    /// How often the source has delivered something.
    pub fetches: u64,
    /// How many fetches have failed.
    pub failed_fetches: u64,
    /// How many logins of the renewal itself the server has refused.
    pub refusals: u64,
    /// Why the last fetch failed, if none has succeeded since.
    pub last_problem: Option<CredentialsProblem>,
}

/// What the renewal of the credentials is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialState {
    /// Nothing is to be done.
    #[default]
    Fresh,
    /// A fetch is due and has failed.
    Due,
    /// The source is being asked.
    Fetching,
    /// The server is being asked whether it accepts what is known.
    Proving,
    /// The server accepts none of what is known.
    Refused,
}
