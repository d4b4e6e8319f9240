//! The table of flows: found by key or number, kept in the order in which they were last heard of.
//!
//! Every flow stands in exactly one list, by stage; it leaves the table only when its addresses are used anew or when there
//! is no room.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::{HashTable, hash_table};

use super::flow::{Flow, Key, Stage};
use crate::event::{SocketCookie, Timestamp};

/// Most flows at a time: with their index they take about 10 MiB, the greater part of what this room may hold.
pub const FLOWS_MAX: usize = 32_768;
/// A flow is moved to the end of its list at most once in this time (nanoseconds): moving costs more than a look-up.
const HEARD_RESOLUTION: u64 = 1_000_000_000;
const NOBODY: u32 = u32::MAX;
/// Places for flows that were found lately: some of those that are active at a time on a busy link, in as little memory as a
/// processor's nearest cache has to spare.
const RECENT: usize = 2048;

/// The place of a flow in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(u32);

/// Four lines of a processor's cache.
#[repr(C, align(64))]
struct Entry {
    flow: Flow,
    older: u32,
    newer: u32,
}

const _: () = assert!(size_of::<Entry>() == 256);

#[derive(Clone, Copy)]
struct List {
    oldest: u32,
    newest: u32,
}

/// The table.
pub struct Table {
    /// Slots by the keys of their flows. The keys stand with the flows alone, which are looked at next anyway: that way the
    /// index fits into a processor's cache.
    index: HashTable<u32>,
    /// By hash, the flow that was found there last: the newest with its addresses.
    recent: Vec<u32>,
    /// With a random key: the addresses of a capture are an adversary's to choose, who cannot watch this run.
    hasher: RandomState,
    entries: Vec<Entry>,
    free: Vec<u32>,
    lists: [List; 4],
    serial: u64,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            index: HashTable::new(),
            recent: vec![NOBODY; RECENT],
            hasher: RandomState::default(),
            // Room for all is only addresses until it is used; to grow would be to copy it again and again.
            entries: Vec::with_capacity(FLOWS_MAX),
            free: Vec::new(),
            lists: [List { oldest: NOBODY, newest: NOBODY }; 4],
            serial: 0,
        }
    }
}

impl Table {
    /// The newest flow with these addresses.
    #[inline]
    pub fn find(&mut self, key: &Key) -> Option<Slot> {
        let hash = self.hasher.hash_one(key);
        let recent = &mut self.recent[hash as usize % RECENT];
        if let Some(entry) = self.entries.get(*recent as usize)
            && entry.flow.key == *key
        {
            return Some(Slot(*recent));
        }
        let is_it = |slot: &u32| self.entries[*slot as usize].flow.key == *key;
        let slot = *self.index.find(hash, is_it)?;
        *recent = slot;
        Some(Slot(slot))
    }

    /// The next older flow with the same addresses.
    pub fn same(&self, slot: Slot) -> Option<Slot> {
        let same = self.flow(slot).same;
        (same != NOBODY).then_some(Slot(same))
    }

    /// The flow that a cookie names, if it is still there.
    pub fn named(&self, socket: SocketCookie) -> Option<Slot> {
        let slot = u32::try_from(socket.0 % FLOWS_MAX as u64).ok()?;
        let entry = self.entries.get(slot as usize)?;
        (entry.flow.serial == socket.0 / FLOWS_MAX as u64).then_some(Slot(slot))
    }

    /// The name of a flow: its number and its place, so that it is found without another index.
    pub fn cookie(&self, slot: Slot) -> SocketCookie {
        SocketCookie(self.flow(slot).serial * FLOWS_MAX as u64 + u64::from(slot.0))
    }

    #[inline]
    pub fn flow(&self, slot: Slot) -> &Flow {
        &self.entries[slot.0 as usize].flow
    }

    #[inline]
    pub fn flow_mut(&mut self, slot: Slot) -> &mut Flow {
        &mut self.entries[slot.0 as usize].flow
    }

    #[inline]
    pub fn stage(&self, slot: Slot) -> Stage {
        self.flow(slot).stage
    }

    pub fn is_full(&self) -> bool {
        self.entries.len() - self.free.len() >= FLOWS_MAX
    }

    /// The flow of a stage that was not heard of for the longest time.
    #[inline]
    pub fn oldest(&self, stage: Stage) -> Option<Slot> {
        let oldest = self.lists[stage as usize].oldest;
        (oldest != NOBODY).then_some(Slot(oldest))
    }

    /// Adds a flow; the table must have room.
    pub fn insert(&mut self, mut flow: Flow) -> Slot {
        self.serial += 1;
        flow.serial = self.serial;
        let key = flow.key;
        (flow.stage, flow.same) = (Stage::Opening, NOBODY);
        let entry = Entry { flow, older: NOBODY, newer: NOBODY };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        let Table { index, recent, hasher, entries, .. } = self;
        let hash_of = |slot: &u32| hasher.hash_one(entries[*slot as usize].flow.key);
        let is_it = |slot: &u32| entries[*slot as usize].flow.key == key;
        let hash = hasher.hash_one(key);
        recent[hash as usize % RECENT] = slot;
        match index.entry(hash, is_it, hash_of) {
            hash_table::Entry::Occupied(mut newest) => {
                let same = std::mem::replace(newest.get_mut(), slot);
                entries[slot as usize].flow.same = same;
            }
            hash_table::Entry::Vacant(place) => {
                place.insert(slot);
            }
        }
        self.append(slot);
        Slot(slot)
    }

    pub fn remove(&mut self, slot: Slot) {
        self.unlink(slot.0);
        let flow = &mut self.entries[slot.0 as usize].flow;
        // Its number must not be found any more.
        flow.serial = 0;
        flow.early = None;
        self.unlink_same(slot.0);
        self.free.push(slot.0);
    }

    /// Takes a flow out of those with its addresses.
    fn unlink_same(&mut self, slot: u32) {
        let Table { index, recent, hasher, entries, .. } = self;
        let Flow { key, same: next, .. } = entries[slot as usize].flow;
        let hash = hasher.hash_one(key);
        let found = &mut recent[hash as usize % RECENT];
        if *found == slot {
            *found = NOBODY;
        }
        let is_it = |indexed: &u32| entries[*indexed as usize].flow.key == key;
        let Ok(mut newest) = index.find_entry(hash, is_it) else { return };
        let mut at = *newest.get();
        if at == slot {
            if next == NOBODY {
                newest.remove();
            } else {
                *newest.get_mut() = next;
            }
            return;
        }
        while at != NOBODY {
            let flow = &mut entries[at as usize].flow;
            if flow.same == slot {
                flow.same = next;
                return;
            }
            at = flow.same;
        }
    }

    /// Notes a packet of a flow.
    #[inline]
    pub fn heard(&mut self, slot: Slot, at: Timestamp) {
        let flow = self.flow_mut(slot);
        if flow.stage != Stage::Closed && at.0.abs_diff(flow.heard.0) >= HEARD_RESOLUTION {
            flow.heard = at;
            self.unlink(slot.0);
            self.append(slot.0);
        }
    }

    /// Moves a flow on in its life.
    pub fn enter(&mut self, slot: Slot, stage: Stage, at: Timestamp) {
        self.unlink(slot.0);
        let flow = self.flow_mut(slot);
        (flow.stage, flow.heard) = (stage, at);
        self.append(slot.0);
    }

    fn append(&mut self, slot: u32) {
        let list = &mut self.lists[self.entries[slot as usize].flow.stage as usize];
        let before = std::mem::replace(&mut list.newest, slot);
        if before == NOBODY {
            list.oldest = slot;
        } else {
            self.entries[before as usize].newer = slot;
        }
        let entry = &mut self.entries[slot as usize];
        (entry.older, entry.newer) = (before, NOBODY);
    }

    fn unlink(&mut self, slot: u32) {
        let Entry { older, newer, ref flow } = self.entries[slot as usize];
        let list = &mut self.lists[flow.stage as usize];
        if older == NOBODY {
            list.oldest = newer;
        }
        if newer == NOBODY {
            list.newest = older;
        }
        if older != NOBODY {
            self.entries[older as usize].newer = newer;
        }
        if newer != NOBODY {
            self.entries[newer as usize].older = older;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture_file::flow::Half;
    use crate::capture_file::packet::{Endpoint, Flags, TcpPacket, VirtualNetwork};

    #[test]
    fn a_flow_that_was_removed_is_not_found_by_its_addresses() {
        let [source, destination] = [1, 2].map(|port| Endpoint { address: 1, port });
        let packet = TcpPacket {
            network: VirtualNetwork::default(),
            source,
            destination,
            sequence: 0,
            acknowledged: 0,
            flags: Flags::default(),
            payload: &[],
            missing: 0,
        };
        let (key, Half::Low) = Key::of(&packet).unwrap() else { panic!("the lower port sent it") };
        let mut table = Table::default();
        let flow = || Flow::new(key, 0, Timestamp(1));
        let (older, newer) = (table.insert(flow()), table.insert(flow()));
        assert_eq!(table.find(&key), Some(newer));
        table.remove(newer);
        assert_eq!(table.find(&key), Some(older));
        table.remove(older);
        assert_eq!(table.find(&key), None);
    }
}
