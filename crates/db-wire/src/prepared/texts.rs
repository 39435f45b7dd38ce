//! The texts that are not in the statement cache, with what a watcher stores with each.

use std::collections::HashMap;
use std::sync::Arc;

use crate::command::Note;

/// A text that was sent, shortened if it is very long, and its watcher's note.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) text: Arc<[u8]>,
    pub(crate) note: Arc<Note>,
}

impl Noted {
    fn new(sql: &[u8]) -> Self {
        Self {
            text: sql.into(),
            note: Arc::default(),
        }
    }
}

/// The short texts that this connection has sent recently, because COMMIT and similar texts come again and
/// again; and, by name, the texts that the client has prepared without the cache.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    recent: HashMap<Arc<[u8]>, Arc<Note>>,
    named: HashMap<Box<[u8]>, Noted>,
}

impl Texts {
    /// Notes that the client prepares a text under a name, which may be empty.
    pub(crate) fn prepared(&mut self, name: &[u8], sql: &[u8]) -> Noted {
        let noted = self.noted(sql);
        if !name.is_empty() {
            if self.named.len() >= MAX_NAMES {
                self.named.clear();
            }
            self.named.insert(name.into(), noted.clone());
        }
        noted
    }

    pub(crate) fn named(&self, name: &[u8]) -> Option<Noted> {
        self.named.get(name).cloned()
    }

    pub(crate) fn closed(&mut self, name: &[u8]) {
        self.named.remove(name);
    }

    pub(crate) fn noted(&mut self, sql: &[u8]) -> Noted {
        if sql.len() > MAX_LENGTH {
            return Noted::new(sql.get(..MAX_NOTED).unwrap_or(sql));
        }
        if let Some((text, note)) = self.recent.get_key_value(sql) {
            let (text, note) = (Arc::clone(text), Arc::clone(note));
            return Noted { text, note };
        }
        if self.recent.len() >= MAX_TEXTS {
            self.recent.clear();
        }
        let noted = Noted::new(sql);
        self.recent
            .insert(Arc::clone(&noted.text), Arc::clone(&noted.note));
        noted
    }
}

/// How many texts are kept. A text that contains its values differs each time.
const MAX_TEXTS: usize = 64;
const MAX_LENGTH: usize = 1024;

/// How many bytes of a long text a watcher gets. A fingerprint reads one byte less, and so sees that there is
/// more.
pub const MAX_NOTED: usize = 16 * 1024 + 1;

/// A client closes its names. One that never does must not fill the memory.
const MAX_NAMES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_again_has_the_same_note() {
        let mut texts = Texts::default();
        let first = texts.noted(b"COMMIT");
        assert!(Arc::ptr_eq(&texts.noted(b"COMMIT").note, &first.note));
        for n in 0..10 * MAX_TEXTS {
            texts.noted(format!("select {n}").as_bytes());
        }
        assert!(texts.recent.len() <= MAX_TEXTS);
        let long = vec![b'x'; 1 << 20];
        assert_eq!(texts.noted(&long).text.len(), MAX_NOTED);
    }
}
