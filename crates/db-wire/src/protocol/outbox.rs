//! Bytes that wait until one side of the conversation takes them.

/// A buffer that is filled at one end and emptied at the other.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Outbox {
    pub(crate) fn waiting(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// The end of the buffer, to append to.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Removes the first `count` bytes, which have been taken.
    pub(crate) fn take(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            self.taken = 0;
            empty(&mut self.bytes);
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}

/// Empties a buffer, and frees the memory that one large message needed.
pub(crate) fn empty(bytes: &mut Vec<u8>) {
    if bytes.capacity() > KEPT {
        *bytes = Vec::new();
    } else {
        bytes.clear();
    }
}

/// How much memory an empty buffer keeps.
const KEPT: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_a_large_buffer_is_given_back() {
        let mut outbox = Outbox::default();
        outbox.end().extend_from_slice(b"abc");
        outbox.take(2);
        assert_eq!(outbox.waiting(), b"c");
        outbox.end().extend_from_slice(&[b'x'; 2 * KEPT]);
        assert_eq!(outbox.waiting().len(), 2 * KEPT + 1);
        outbox.take(2 * KEPT + 1);
        assert!(outbox.is_empty() && outbox.bytes.capacity() <= KEPT);
    }
}
