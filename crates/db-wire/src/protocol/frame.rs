//! Frames: where one message of the server ends and the next begins.
//!
//! A message is a tag byte, a length that counts itself, and a body. The wire reads what the server sends
//! in place, in the buffer of the reader. It copies only a message that it must understand and that
//! arrives in pieces.

/// The size of a tag and a length.
pub(crate) const HEADER: usize = 5;

/// The longest possible message: PostgreSQL allocates at most 1 GB (MaxAllocSize, utils/memutils.h).
pub(crate) const MAX_LENGTH: u32 = 0x4000_0000;

/// The longest message that is kept whole. The messages that the wire must understand are much shorter.
pub(crate) const MAX_HELD: u32 = 0x0100_0000;

/// The peer announced a message of an impossible length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLength {
    pub(crate) tag: u8,
    pub(crate) length: u32,
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The reader gets it, as it arrives.
    Pass,
    /// Nobody gets it.
    Drop,
    /// The wire decides once it has the whole message.
    Hold,
}

/// How far the current message has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The first `filled` bytes of its header are here.
    Header { bytes: [u8; HEADER], filled: usize },
    /// `left` bytes of its body are still to come.
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
