//! Texts whose plans the server has refused since they were prepared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Texts whose plans the server has refused, each as in a Parse, with its parameter types.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    /// The descriptions that clients were given, until somebody asks again.
    told: HashMap<Arc<[u8]>, Box<[u8]>>,
    /// Texts that are no longer prepared with a name. A pooler that keeps statements finds them by their
    /// text: preparing one again gives the old plan, on every server connection that had it.
    nameless: HashSet<Arc<[u8]>>,
    /// No text has a name any more.
    all_nameless: bool,
}

impl Stale {
    /// Notes how a refused text was described.
    pub(crate) fn was_told(&mut self, text: Arc<[u8]>, description: Box<[u8]>) {
        if self.told.len() >= MAX_TEXTS {
            self.told.clear();
        }
        self.told.insert(text, description);
    }

    /// Takes out how the text was described before it was refused.
    pub(crate) fn take_told(&mut self, text: &[u8]) -> Option<Box<[u8]>> {
        if self.told.is_empty() {
            return None;
        }
        self.told.remove(text)
    }

    /// Notes that a text has no name from now on.
    pub(crate) fn make_nameless(&mut self, text: Arc<[u8]>) {
        if self.nameless.len() >= MAX_TEXTS {
            // Texts that are still stale will be found again.
            self.nameless.clear();
        }
        self.nameless.insert(text);
    }

    pub(crate) fn make_all_nameless(&mut self) {
        self.all_nameless = true;
        self.nameless = HashSet::new();
    }

    pub(crate) fn is_all_nameless(&self) -> bool {
        self.all_nameless
    }

    pub(crate) fn is_nameless(&self, text: &[u8]) -> bool {
        self.all_nameless || (!self.nameless.is_empty() && self.nameless.contains(text))
    }
}

/// How many texts are remembered. A change of a table affects only a few.
const MAX_TEXTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_texts_are_remembered_as_there_is_room_for() {
        let mut stale = Stale::default();
        for number in 0..=MAX_TEXTS {
            let text: Arc<[u8]> = number.to_string().as_bytes().into();
            stale.was_told(Arc::clone(&text), Box::default());
            stale.make_nameless(text);
        }
        assert_eq!((stale.told.len(), stale.nameless.len()), (1, 1));
        assert!(stale.is_nameless(b"64") && !stale.is_nameless(b"0"));
        assert!(stale.take_told(b"64").is_some() && stale.take_told(b"64").is_none());
    }
}
