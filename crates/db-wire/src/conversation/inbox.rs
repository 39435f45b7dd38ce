//! The bytes of a client's request that is not complete yet, or that has to wait.

use crate::protocol::frame::{BadLength, HEADER, MAX_LENGTH};
use crate::protocol::outbox::empty;

/// The bytes of the client's requests, divided into messages.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    /// The whole messages of the request that is being read.
    frames: Vec<Frame>,
    scanned: usize,
}

/// One whole message among those bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    start: usize,
    end: usize,
}

impl Frame {
    pub(crate) fn bytes(self, inbox: &[u8]) -> &[u8] {
        &inbox[self.start..self.end]
    }

    pub(crate) fn body(self, inbox: &[u8]) -> &[u8] {
        &inbox[self.start + HEADER..self.end]
    }
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Keeps bytes that cannot be handled yet.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes everything that is kept, to be handled.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Puts the taken bytes back, without the first `handled` bytes.
    pub(crate) fn put_back(&mut self, mut bytes: Vec<u8>, handled: usize) {
        if handled == bytes.len() {
            empty(&mut bytes);
        } else {
            bytes.drain(..handled);
        }
        self.bytes = bytes;
    }

    /// Takes the messages of the request that has been begun.
    pub(crate) fn take_frames(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.frames)
    }

    /// Puts them back. Their positions now count from the end of the handled bytes.
    pub(crate) fn put_frames_back(&mut self, mut frames: Vec<Frame>, handled: usize) {
        self.scanned -= handled;
        for frame in &mut frames {
            frame.start -= handled;
            frame.end -= handled;
        }
        self.frames = frames;
    }

    /// The next message, if it is whole.
    pub(crate) fn next(&self, bytes: &[u8]) -> Result<Option<Frame>, BadLength> {
        let start = self.scanned;
        let Some(header) = bytes.get(start..).and_then(<[u8]>::first_chunk::<HEADER>) else {
            return Ok(None);
        };
        let [tag, a, b, c, d] = *header;
        let length = u32::from_be_bytes([a, b, c, d]);
        if !(4..=MAX_LENGTH).contains(&length) {
            return Err(BadLength { tag, length });
        }
        let end = start + 1 + length as usize;
        Ok((end <= bytes.len()).then_some(Frame { tag, start, end }))
    }

    /// Continues with the message that begins there.
    pub(crate) fn go_back(&mut self, start: usize) {
        self.scanned = start;
    }

    /// Continues after this message, and returns where that is.
    pub(crate) fn pass_by(&mut self, message: Frame) -> usize {
        self.scanned = message.end;
        message.end
    }
}
