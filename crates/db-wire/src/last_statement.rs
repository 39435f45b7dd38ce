//! The statement that was sent last. It tells what a connection is doing.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The beginning of a text and when it was sent.
///
/// It is written with every statement and read almost never. So it is one buffer for the life of the connection: a
/// short copy under an uncontended lock costs less than one more reference to a shared text, and needs no allocation.
#[derive(Default)]
pub struct LastStatement(Mutex<Sent>);

#[derive(Default)]
struct Sent {
    text: Vec<u8>,
    at: Option<Instant>,
}

impl LastStatement {
    /// Notes a text. It ends at the first NUL.
    pub(crate) fn note(&self, text: &[u8], at: Instant) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.text.clear();
        sent.text
            .extend_from_slice(&text[..text.len().min(MAX_TEXT)]);
        sent.at = Some(at);
    }

    /// When it was sent.
    #[must_use]
    pub fn sent_at(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at
    }

    /// The text, and when it was sent. The text is empty if the wire does not know it.
    pub fn read(&self) -> Option<(Vec<u8>, Instant)> {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = sent.text.split(|byte| *byte == 0).next();
        Some((text.unwrap_or_default().to_vec(), sent.at?))
    }
}

/// The text of a statement may hold values, so no `{:?}` of a connection shows it.
impl std::fmt::Debug for LastStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LastStatement").finish_non_exhaustive()
    }
}

/// How much of a text is kept.
const MAX_TEXT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_text_is_kept_up_to_its_nul_and_cut_where_it_is_long() {
        let last = LastStatement::default();
        assert!(last.read().is_none());
        let now = Instant::now();
        last.note(b"select $1\0\0\x01\0\0\0\x17", now);
        assert_eq!(last.read(), Some((b"select $1".to_vec(), now)));
        last.note(&[b'x'; 3 * MAX_TEXT], now);
        assert_eq!(last.read().unwrap().0.len(), MAX_TEXT);
        last.note(b"", now);
        assert_eq!(last.read(), Some((Vec::new(), now)));
        last.note(b"select 'canary'", now);
        assert!(!format!("{last:?}").contains("canary"));
    }
}
