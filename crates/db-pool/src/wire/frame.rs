//! Frames: where one protocol message ends and the next begins.
//!
//! Every message is a tag byte, a length that counts itself, and a body; only the very first one a
//! client sends has no tag. The reader is fed whatever bytes pass, in pieces of any size, and keeps a
//! body only where the observer asks for it, up to [`KEPT_BODY`] bytes.

/// How much of a body is kept at most; an error message or a statement's beginning fits.
pub(crate) const KEPT_BODY: usize = 8 * 1024;

/// What the observer wants to see of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    Body,
}

/// The peer announced a frame that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLength {
    pub(crate) tag: u8,
    pub(crate) length: u32,
}

/// An incremental reader of frames in one direction.
#[derive(Debug)]
pub(crate) struct FrameReader {
    state: State,
    header: [u8; 5],
    filled: usize,
    body: Vec<u8>,
    limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The tagless first packet of a client: its length is still missing.
    StartupLength,
    /// That packet's body, which holds no secret but is of no interest either.
    StartupBody {
        left: u32,
    },
    Header,
    Body {
        left: u32,
        keep: Keep,
    },
}

impl FrameReader {
    /// Reads what a client sends, from its startup packet on.
    pub(crate) fn client() -> Self {
        Self::starting_with(State::StartupLength)
    }

    /// Reads what a server sends, from its first answer after TLS on.
    pub(crate) fn server() -> Self {
        Self::starting_with(State::Header)
    }

    fn starting_with(state: State) -> Self {
        Self {
            state,
            header: [0; 5],
            filled: 0,
            body: Vec::new(),
            // PostgreSQL itself sends no message beyond 1 GB (MaxAllocSize in utils/memutils.h).
            limit: 0x4000_0000,
        }
    }

    /// Takes the next bytes; calls `wanted` at each header and `seen` at the end of each frame.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut wanted: impl FnMut(u8) -> Keep,
        mut seen: impl FnMut(u8, &[u8]),
    ) -> Result<(), BadLength> {
        while !bytes.is_empty() {
            match self.state {
                State::StartupLength => {
                    let Some(length) = self.take_header(&mut bytes, 4) else {
                        return Ok(());
                    };
                    let left = self.checked(0, length)?;
                    self.state = if left == 0 {
                        State::Header
                    } else {
                        State::StartupBody { left }
                    };
                }
                State::StartupBody { left } => {
                    let taken = take(&mut bytes, left);
                    let left = left - len(taken);
                    self.state = if left == 0 {
                        State::Header
                    } else {
                        State::StartupBody { left }
                    };
                }
                State::Header => {
                    let Some(length) = self.take_header(&mut bytes, 5) else {
                        return Ok(());
                    };
                    let tag = self.header[0];
                    let left = self.checked(tag, length)?;
                    let keep = wanted(tag);
                    self.body.clear();
                    if left == 0 {
                        seen(tag, &[]);
                    } else {
                        self.state = State::Body { left, keep };
                    }
                }
                State::Body { left, keep } => {
                    let taken = take(&mut bytes, left);
                    let left = left - len(taken);
                    let tag = self.header[0];
                    // A frame that arrives whole is shown where it lies, without a copy.
                    if left == 0 && self.body.is_empty() {
                        let shown = match keep {
                            Keep::Body => &taken[..taken.len().min(KEPT_BODY)],
                            Keep::Nothing => &[],
                        };
                        seen(tag, shown);
                        self.state = State::Header;
                        continue;
                    }
                    if keep == Keep::Body {
                        let room = KEPT_BODY - self.body.len();
                        self.body.extend_from_slice(&taken[..taken.len().min(room)]);
                    }
                    if left == 0 {
                        seen(tag, &self.body);
                        self.state = State::Header;
                    } else {
                        self.state = State::Body { left, keep };
                    }
                }
            }
        }
        Ok(())
    }

    /// Gathers a header of `size` bytes; its last four are the length.
    fn take_header(&mut self, bytes: &mut &[u8], size: usize) -> Option<u32> {
        let taken = take(bytes, (size - self.filled) as u32);
        self.header[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        if self.filled < size {
            return None;
        }
        self.filled = 0;
        let mut length = [0; 4];
        length.copy_from_slice(&self.header[size - 4..size]);
        Some(u32::from_be_bytes(length))
    }

    /// The length of the body, where the announced one is possible at all.
    fn checked(&self, tag: u8, length: u32) -> Result<u32, BadLength> {
        match length.checked_sub(4) {
            Some(body) if length <= self.limit => Ok(body),
            _ => Err(BadLength { tag, length }),
        }
    }
}

fn take<'b>(bytes: &mut &'b [u8], at_most: u32) -> &'b [u8] {
    let (taken, rest) = bytes.split_at(bytes.len().min(at_most as usize));
    *bytes = rest;
    taken
}

fn len(bytes: &[u8]) -> u32 {
    // Never more than the `u32` that `take` was given.
    bytes.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn read(mut reader: FrameReader, pieces: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        for piece in pieces {
            reader
                .feed(
                    piece,
                    |tag| {
                        if tag == b'D' {
                            Keep::Nothing
                        } else {
                            Keep::Body
                        }
                    },
                    |tag, body| frames.push((tag, body.to_vec())),
                )
                .unwrap();
        }
        frames
    }

    #[test]
    fn a_conversation_reads_the_same_however_it_is_cut() {
        let mut bytes = frame(b'D', b"row");
        bytes.extend(frame(b'C', b"SELECT 1\0"));
        bytes.extend(frame(b'I', b""));
        bytes.extend(frame(b'Z', b"T"));
        let whole = read(FrameReader::server(), &[&bytes]);
        assert_eq!(
            whole,
            [
                (b'D', Vec::new()),
                (b'C', b"SELECT 1\0".to_vec()),
                (b'I', Vec::new()),
                (b'Z', b"T".to_vec())
            ]
        );
        for cut in 0..=bytes.len() {
            assert_eq!(
                read(FrameReader::server(), &[&bytes[..cut], &bytes[cut..]]),
                whole
            );
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(FrameReader::server(), &single), whole);
    }

    #[test]
    fn a_client_starts_with_a_packet_without_a_tag() {
        let mut bytes = 9u32.to_be_bytes().to_vec();
        bytes.extend_from_slice(b"Q\0\0\0\x05");
        bytes.extend(frame(b'S', b""));
        assert_eq!(read(FrameReader::client(), &[&bytes]), [(b'S', Vec::new())]);
    }

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        for length in [0u32, 3, 0x4000_0001, u32::MAX] {
            let mut bytes = vec![b'D'];
            bytes.extend_from_slice(&length.to_be_bytes());
            let refused = FrameReader::server().feed(&bytes, |_| Keep::Body, |_, _| unreachable!());
            assert_eq!(refused, Err(BadLength { tag: b'D', length }));
        }
    }

    #[test]
    fn a_long_body_is_kept_only_in_part() {
        let body = vec![b'x'; 3 * KEPT_BODY];
        let bytes = frame(b'E', &body);
        let (head, tail) = bytes.split_at(KEPT_BODY / 2);
        let frames = read(FrameReader::server(), &[head, tail]);
        assert_eq!(frames[0].1.len(), KEPT_BODY);
    }
}
