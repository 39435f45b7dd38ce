//! The options that no transaction can have.

use std::fmt;

/// Every option of a transaction that no transaction can have, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidOptions(Vec<InvalidOption>);

impl InvalidOptions {
    /// Each of them; there is at least one in an error.
    #[must_use]
    pub fn options(&self) -> &[InvalidOption] {
        &self.0
    }

    pub(crate) fn add(&mut self, refused: InvalidOption) {
        if !self.0.contains(&refused) {
            self.0.push(refused);
        }
    }
}

impl fmt::Display for InvalidOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, option) in self.0.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "; " };
            write!(f, "{separator}{option}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidOptions {}

/// An option that no transaction can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOption {
    /// `attempts(0)`.
    #[error("attempts is 0, expected at least 1")]
    NoAttempts,
    /// A timeout of zero.
    #[error("{0} is zero, expected a time in which something can be done")]
    ZeroTimeout(&'static str),
    /// A label that would break a line of the log, or turn its text around.
    #[error("the label {0:?} has a control character")]
    ControlCharacter(&'static str),
    /// A label of so many bytes.
    #[error("the label has {0} bytes, expected at most {MAX_LABEL}")]
    LongLabel(usize),
}

/// It is in every event and error that names the transaction.
pub(crate) const MAX_LABEL: usize = 200;
