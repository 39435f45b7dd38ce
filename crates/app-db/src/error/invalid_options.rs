//! Options that no transaction can have.

use std::fmt;

/// All invalid options of one transaction, in the order in which the caller set them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InvalidOptions(Vec<InvalidOption>);

impl InvalidOptions {
    /// The options. An error has at least one.
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
    #[error("{0} is zero, expected a positive time")]
    ZeroTimeout(&'static str),
    /// A label that would break a log line or reverse its text.
    #[error("the label {0:?} has a control character")]
    ControlCharacter(&'static str),
    /// A label that is too long, with its length in bytes.
    #[error("the label has {0} bytes, expected at most {MAX_LABEL}")]
    LongLabel(usize),
}

/// Every event and error that names the transaction repeats the label.
pub(crate) const MAX_LABEL: usize = 200;
