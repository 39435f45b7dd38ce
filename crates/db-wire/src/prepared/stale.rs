//! Texts whose plans the server has refused since they were prepared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is remembered of them; each text as in a Parse, with its parameter types.
#[derive(Debug, Default)]
pub(crate) struct Stale {
    /// What clients were told of them, until somebody asks again.
    told: HashMap<Arc<[u8]>, Box<[u8]>>,
    /// Texts that are not prepared by name any more. A pooler that keeps statements knows them by their text:
    /// to prepare one anew gives the old plan back, on every server connection that had it.
    nameless: HashSet<Arc<[u8]>>,
}

impl Stale {
    /// A refused text was described like this.
    pub(crate) fn was_told(&mut self, text: Arc<[u8]>, description: Box<[u8]>) {
        if self.told.len() >= MAX_TEXTS {
            self.told.clear();
        }
        self.told.insert(text, description);
    }

    /// How it was described before it was refused; once.
    pub(crate) fn take_told(&mut self, text: &[u8]) -> Option<Box<[u8]>> {
        if self.told.is_empty() {
            return None;
        }
        self.told.remove(text)
    }

    /// A text that has no name from now on.
    pub(crate) fn make_nameless(&mut self, text: Arc<[u8]>) {
        if self.nameless.len() >= MAX_TEXTS {
            // Whichever of them is stale still is found to be so again.
            self.nameless.clear();
        }
        self.nameless.insert(text);
    }

    pub(crate) fn is_nameless(&self, text: &[u8]) -> bool {
        !self.nameless.is_empty() && self.nameless.contains(text)
    }
}

/// How many texts are remembered; a change of a table touches a few.
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
