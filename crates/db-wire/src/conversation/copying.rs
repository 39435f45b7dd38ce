//! Whether the client is sending the rows of a COPY.

/// Whether the client is sending the rows of a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copying {
    No,
    /// The server takes rows, and ignores a Sync until the rows have ended. So after a COPY that an
    /// Execute began, it gives one answer to two Syncs.
    In {
        extended: bool,
    },
    /// The client has ended the rows. The next Sync belongs to the same exchange.
    Ended,
}

impl Copying {
    /// Whether a message belongs to the COPY.
    pub(crate) fn takes(self, tag: u8) -> bool {
        match self {
            Self::No => false,
            Self::In { extended } => {
                matches!(tag, b'd' | b'c' | b'f' | b'H') || (extended && tag == b'S')
            }
            Self::Ended => tag == b'S',
        }
    }

    /// The state after a message of the COPY.
    pub(crate) fn after(self, tag: u8) -> Self {
        match (self, tag) {
            (Self::In { extended: true }, b'c' | b'f') => Self::Ended,
            (Self::In { extended: false }, b'c' | b'f') | (Self::Ended, _) => Self::No,
            _ => self,
        }
    }
}
