//! The statements that this connection has prepared, by text and by the names its client gave them.
//!
//! A client prepares the same text again and again, each time under a new name. The server prepares the text once,
//! and later names are aliases for the same record. A record is removed when neither the cache nor a name holds
//! it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::command::Note;
use crate::prepared::stale::Stale;
use crate::rules::Naming;
use crate::sql::traits::Traits;

/// A record's place, and its serial number. An exchange may live longer than the record, and the place may then
/// hold another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatementId {
    place: u32,
    serial: u64,
}

/// Texts, names, and what is prepared under them.
#[derive(Debug)]
pub(crate) struct StatementCache {
    capacity: usize,
    naming: Naming,
    /// Whether the session is shared with others.
    shared: bool,
    by_text: HashMap<Arc<[u8]>, StatementId>,
    by_name: HashMap<Box<[u8]>, StatementId>,
    records: Vec<Option<Record>>,
    free: Vec<usize>,
    clock: u64,
    /// Names that the server may forget. The next batch closes them.
    to_close: Vec<Box<[u8]>>,
    stale: Stale,
}

/// One statement.
#[derive(Debug)]
pub(crate) struct Record {
    /// The text, its NUL, and the parameter types: a Parse without its name.
    pub(crate) tail: Arc<[u8]>,
    pub(crate) note: Arc<Note>,
    /// ParameterDescription and RowDescription or NoData, as the client received them.
    pub(crate) description: Option<Box<[u8]>>,
    /// The portal's description of the rows, in the formats that the client asks for. Kept only if the client can read
    /// them.
    pub(crate) portal: Option<Box<[u8]>>,
    /// The rows have got more columns since the client was told of them. The wire passes only this many.
    pub(crate) narrow: Option<u16>,
    /// Whether the client states the type of each parameter, so that the server infers none.
    pub(crate) typed: bool,
    /// Whether it has a name on the server at all.
    pub(crate) naming: Naming,
    /// Whether the server has it prepared under its name, or is about to.
    pub(crate) prepared: bool,
    /// The name to prepare it under.
    pub(crate) name: Box<[u8]>,
    pub(crate) traits: Traits,
    serial: u64,
    cached: bool,
    holders: u32,
    used: u64,
}

impl Record {
    /// Marks it as prepared under its name on the server. Returns `false` if it has no name.
    pub(crate) fn give_name(&mut self) -> bool {
        self.prepared = self.naming == Naming::Named;
        self.prepared
    }

    /// The name under which the server knows it; empty if it has none.
    pub(crate) fn server_name(&self) -> &[u8] {
        match self.naming {
            Naming::Named => &self.name,
            Naming::Unnamed => b"",
        }
    }

    /// Takes out the name that the server has for it and may forget.
    fn take_prepared(&mut self) -> Option<Box<[u8]>> {
        std::mem::take(&mut self.prepared).then(|| self.name.clone())
    }

    /// Marks it as prepared under its name, and returns the name.
    pub(crate) fn take_name(&mut self) -> Box<[u8]> {
        self.give_name();
        self.server_name().into()
    }
}

impl StatementCache {
    /// A cache of at most `capacity` texts. With 0 it keeps only texts whose names the client holds.
    pub(crate) fn new(capacity: usize, naming: Naming, shared: bool) -> Self {
        Self {
            capacity,
            naming,
            shared,
            by_text: HashMap::new(),
            by_name: HashMap::new(),
            records: Vec::new(),
            free: Vec::new(),
            clock: 0,
            to_close: Vec::new(),
            stale: Stale::default(),
        }
    }

    /// Whether it was made for these rules.
    pub(crate) fn is_for(&self, capacity: usize, naming: Naming, shared: bool) -> bool {
        (self.capacity, self.naming, self.shared) == (capacity, naming, shared)
    }

    pub(crate) fn get(&self, id: StatementId) -> Option<&Record> {
        let record = self.records.get(id.place as usize)?.as_ref()?;
        (record.serial == id.serial).then_some(record)
    }

    pub(crate) fn get_mut(&mut self, id: StatementId) -> Option<&mut Record> {
        let record = self.records.get_mut(id.place as usize)?.as_mut()?;
        (record.serial == id.serial).then_some(record)
    }

    /// The record behind a client's name. This does not count as a use.
    pub(crate) fn known(&self, name: &[u8]) -> Option<StatementId> {
        self.by_name.get(name).copied()
    }

    /// The record behind a client's name. This counts as a use.
    pub(crate) fn named(&mut self, name: &[u8]) -> Option<StatementId> {
        let id = *self.by_name.get(name)?;
        self.clock += 1;
        let now = self.clock;
        self.get_mut(id)?.used = now;
        Some(id)
    }

    /// Gives a known text another name. The wire can answer only for a text whose description it knows.
    pub(crate) fn adopt(&mut self, name: &[u8], tail: &[u8]) -> Option<StatementId> {
        let id = *self.by_text.get(tail)?;
        self.get(id)?.description.as_ref()?;
        self.release(name);
        self.by_name.insert(name.into(), id);
        self.clock += 1;
        let now = self.clock;
        let record = self.get_mut(id)?;
        record.holders += 1;
        record.used = now;
        Some(id)
    }

    /// Creates a record under a client's name. It enters the cache when it is described.
    pub(crate) fn create(&mut self, name: &[u8], tail: &[u8], traits: Traits) -> StatementId {
        self.release(name);
        self.clock += 1;
        // A pooler that keeps statements shares each text among all of its clients. So a text whose meaning
        // depends on a session must have no name there.
        let nameless = self.stale.is_nameless(tail) || (self.shared && !traits.keepable);
        let naming = match nameless {
            true => Naming::Unnamed,
            false => self.naming,
        };
        let record = Record {
            tail: tail.into(),
            note: Arc::default(),
            description: None,
            portal: None,
            narrow: None,
            typed: is_typed(tail, traits.parameters),
            naming,
            prepared: naming == Naming::Named,
            name: name.into(),
            traits,
            serial: self.clock,
            cached: false,
            holders: 1,
            used: self.clock,
        };
        let place = self.free.pop().unwrap_or(self.records.len());
        if place == self.records.len() {
            // It grows in small steps: most connections have some dozens of texts, and keep them.
            if place == self.records.capacity() {
                self.records.reserve_exact(8);
            }
            self.records.push(None);
        }
        self.records[place] = Some(record);
        let id = StatementId {
            place: place as u32,
            serial: self.clock,
        };
        self.by_name.insert(name.into(), id);
        id
    }

    /// Puts a described record into the cache. If the cache is full, the least recently used record leaves it.
    pub(crate) fn remember(&mut self, id: StatementId) {
        if self.capacity == 0 {
            return;
        }
        let keepable = |record: &&mut Record| !record.cached && record.traits.keepable;
        let Some(record) = self.get_mut(id).filter(keepable) else {
            return;
        };
        record.cached = true;
        let tail = Arc::clone(&record.tail);
        if let Some(previous) = self.by_text.insert(tail, id)
            && previous != id
        {
            self.uncache(previous);
        }
        while self.by_text.len() > self.capacity {
            let oldest = self
                .by_text
                .iter()
                .min_by_key(|(_, id)| self.get(**id).map_or(0, |record| record.used))
                .map(|(tail, id)| (Arc::clone(tail), *id));
            let Some((tail, oldest)) = oldest else { return };
            self.by_text.remove(&tail);
            // If the client still holds a name, the text stays, and is parsed again when it is used.
            if let Some(name) = self.get_mut(oldest).and_then(Record::take_prepared) {
                self.to_close.push(name);
            }
            self.uncache(oldest);
        }
    }

    /// Removes a name that the client has closed. Returns `false` if there was no such name.
    pub(crate) fn release(&mut self, name: &[u8]) -> bool {
        let Some(id) = self.by_name.remove(name) else {
            return false;
        };
        if let Some(record) = self.get_mut(id) {
            record.holders = record.holders.saturating_sub(1);
        }
        self.drop_if_unheld(id);
        true
    }

    /// Takes one text out of the cache, because the server describes it differently now.
    pub(crate) fn forget(&mut self, id: StatementId) {
        let Some(record) = self.get_mut(id) else {
            return;
        };
        let (tail, prepared) = (Arc::clone(&record.tail), record.take_prepared());
        self.to_close.extend(prepared);
        if self.by_text.get(&tail) == Some(&id) {
            self.by_text.remove(&tail);
        }
        self.uncache(id);
    }

    /// Forgets a text whose plan the server refused, but keeps the description that its client was given: the next
    /// client that asks still believes it.
    pub(crate) fn outdate(&mut self, id: StatementId) {
        if let Some(record) = self.get_mut(id) {
            let (tail, told) = (Arc::clone(&record.tail), record.description.clone());
            if let Some(told) = told {
                self.stale.was_told(tail, told);
            }
        }
        self.forget(id);
    }

    /// Takes a text's name away permanently, because the pooler that keeps names keeps the refused plan too.
    pub(crate) fn unname(&mut self, id: StatementId) {
        let Some(record) = self.get_mut(id) else {
            return;
        };
        record.naming = Naming::Unnamed;
        let (tail, prepared) = (Arc::clone(&record.tail), record.take_prepared());
        self.to_close.extend(prepared);
        self.stale.make_nameless(tail);
    }

    /// Has each text prepared again at its next use, because this session has changed an object that plans do not
    /// follow. A pooler that keeps names would give the old plan for a text, so no text has a name there any more.
    pub(crate) fn plans_outdated(&mut self) {
        self.names_lost();
        if self.shared && !self.stale.is_all_nameless() {
            self.stale.make_all_nameless();
            for record in self.records.iter_mut().flatten() {
                record.naming = Naming::Unnamed;
            }
        }
    }

    /// Takes out the description that clients were given before the text's plan was refused.
    pub(crate) fn take_outdated(&mut self, id: StatementId) -> Option<Box<[u8]>> {
        let tail = Arc::clone(&self.get(id)?.tail);
        self.stale.take_told(&tail)
    }

    /// Removes a text that the server has refused to prepare, or to describe after it had parsed it. The client has not
    /// yet been told that its name exists.
    pub(crate) fn refuse(&mut self, id: StatementId, parsed: bool) {
        let Some(record) = self.get_mut(id) else {
            return;
        };
        let name = record.name.clone();
        record.prepared &= parsed;
        self.forget(id);
        if self.by_name.get(&name) == Some(&id) {
            self.release(&name);
        }
    }

    /// Takes every text out of the cache, because texts mean something else from now on. Names that the client holds
    /// stay valid.
    pub(crate) fn forget_all(&mut self) {
        self.forget_since(0);
    }

    /// The number of the newest record. [`Self::forget_since`] uses it to tell later records from earlier ones.
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// Takes out of the cache the texts that were prepared after `clock`. A text that cannot
    /// be kept is parsed again at its next use, under the name that the client holds for it.
    pub(crate) fn forget_since(&mut self, clock: u64) {
        for record in self.records.iter_mut().flatten() {
            if !record.traits.keepable {
                self.to_close.extend(record.take_prepared());
            }
        }
        let later = self.by_text.extract_if(|_text, id| id.serial > clock);
        let mut ids: Vec<_> = later.map(|(_text, id)| id).collect();
        // Sorting makes the bytes to the server the same in each run.
        ids.sort_by_key(|id| id.serial);
        for id in ids {
            self.uncache(id);
        }
    }

    /// Has each text prepared again at its next use, because the server has lost some or all prepared statements of
    /// this connection. Closing a name that the server does not know is no error.
    pub(crate) fn names_lost(&mut self) {
        for record in self.records.iter_mut().flatten() {
            self.to_close.extend(record.take_prepared());
        }
    }

    /// Names that the server may forget now.
    pub(crate) fn take_to_close(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.to_close)
    }

    fn uncache(&mut self, id: StatementId) {
        if let Some(record) = self.get_mut(id) {
            record.cached = false;
        }
        self.drop_if_unheld(id);
    }

    fn drop_if_unheld(&mut self, id: StatementId) {
        let unheld = self
            .get(id)
            .is_some_and(|record| !record.cached && record.holders == 0);
        if unheld && let Some(mut record) = self.records[id.place as usize].take() {
            self.to_close.extend(record.take_prepared());
            self.free.push(id.place as usize);
        }
    }
}

/// Whether a Parse, here without its name, states the types of this many parameters.
fn is_typed(tail: &[u8], parameters: u16) -> bool {
    let types = tail
        .iter()
        .position(|byte| *byte == 0)
        .map(|end| &tail[end + 1..]);
    let Some((count, oids)) = types.and_then(<[u8]>::split_first_chunk::<2>) else {
        return false;
    };
    let all_stated = oids.chunks_exact(4).all(|oid| oid != [0; 4]);
    parameters <= u16::from_be_bytes(*count) && all_stated
}

#[cfg(test)]
mod tests;
