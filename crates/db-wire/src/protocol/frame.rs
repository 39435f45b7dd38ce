//! Frames: where one message of the server's ends and the next begins.
//!
//! A message is a tag byte, a length that counts itself, and a body. What the server sends is read where
//! it lies, in the buffer of the reader; only a message that the wire must understand and that arrives
//! in pieces is copied.

/// The size of a tag and a length.
pub(crate) const HEADER: usize = 5;

/// The longest message there is: PostgreSQL allocates no more than 1 GB (MaxAllocSize, utils/memutils.h).
pub(crate) const MAX_LENGTH: u32 = 0x4000_0000;

/// The longest message that is kept whole; none that the wire must understand comes near it.
pub(crate) const MAX_HELD: u32 = 0x0100_0000;

/// The peer announced a message that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLength {
    pub(crate) tag: u8,
    pub(crate) length: u32,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The reader gets it, as it arrives.
    Pass,
    /// Nobody gets it.
    Drop,
    /// It is looked at whole before that is decided.
    Hold,
}

/// How far the current message has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// So many bytes of its header.
    Header { bytes: [u8; HEADER], filled: usize },
    /// So many bytes of its body are to come.
    Body { tag: u8, left: usize, fate: Fate },
}

impl Default for Reading {
    fn default() -> Self {
        Self::Header {
            bytes: [0; HEADER],
            filled: 0,
        }
    }
}

/// The tag and the length of the body that a whole header announces.
pub(crate) fn announced(header: [u8; HEADER]) -> Result<(u8, usize), BadLength> {
    let [tag, a, b, c, d] = header;
    let length = u32::from_be_bytes([a, b, c, d]);
    if !(4..=MAX_LENGTH).contains(&length) {
        return Err(BadLength { tag, length });
    }
    Ok((tag, length as usize - 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        for length in [0u32, 3, MAX_LENGTH + 1, u32::MAX] {
            let [a, b, c, d] = length.to_be_bytes();
            assert_eq!(
                announced([b'D', a, b, c, d]),
                Err(BadLength { tag: b'D', length })
            );
        }
        assert_eq!(announced(*b"Z\0\0\0\x05"), Ok((b'Z', 1)));
    }
}
