//! The storage of the process table: the generations of each pid, in bounded queues of expiry.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::KnownProcess;
use crate::event::{ProcessKey, Timestamp};

/// How full a [`super::ProcessTable`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableSize {
    /// Now.
    pub entries: usize,
    /// At most.
    pub bound: usize,
    /// Exited processes dropped before their time, since the start.
    pub evicted: u64,
    /// Processes not remembered because all others were alive, since the start.
    pub refused: u64,
}

/// One process; `serial` tells it from others with its pid in the queues.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) serial: u64,
    pub(super) key: ProcessKey,
    pub(super) known: Arc<KnownProcess>,
    /// Id of its cgroup when last seen in a hook; 0 if never.
    pub(super) cgroup: u64,
    /// `known` is still its parent's.
    pub(super) inherited: bool,
    /// Who forked it.
    pub(super) parent: Option<ProcessKey>,
    exited: bool,
    /// It was asked for: its executable is looked at now and then.
    pub(super) named: bool,
}

/// A process that is new to the table.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) key: ProcessKey,
    pub(super) known: Arc<KnownProcess>,
    pub(super) cgroup: u64,
    pub(super) inherited: bool,
    pub(super) parent: Option<ProcessKey>,
}

/// Processes by pid and start time.
#[derive(Debug)]
pub(super) struct Generations {
    /// The newest of each pid last.
    entries: FxHashMap<u32, Vec<Entry>>,
    /// In order of exit: when, pid, serial. Never longer than there are entries.
    exits: VecDeque<(Timestamp, u32, u64)>,
    /// Round robin over the living: pid, serial; removed ones stay until they are met or it gets twice the bound.
    living: VecDeque<(u32, u64)>,
    /// The same of those that were asked for.
    named: VecDeque<(u32, u64)>,
    next_serial: u64,
    size: TableSize,
}

impl Generations {
    pub(super) fn new(bound: usize) -> Generations {
        Generations {
            entries: FxHashMap::default(),
            exits: VecDeque::new(),
            living: VecDeque::new(),
            named: VecDeque::new(),
            next_serial: 0,
            size: TableSize { bound, ..TableSize::default() },
        }
    }

    pub(super) fn size(&self) -> TableSize {
        self.size
    }

    /// Nothing can be added, because nothing exited that could be evicted.
    pub(super) fn is_full(&self) -> bool {
        self.size.entries >= self.size.bound && self.exits.is_empty()
    }

    /// The newest process that `key` can mean.
    pub(super) fn find(&self, key: ProcessKey) -> Option<&Entry> {
        self.entries.get(&key.pid)?.iter().rev().find(|entry| entry.key.agrees(key))
    }

    /// Serial of the newest process with this pid.
    pub(super) fn newest(&self, pid: u32) -> Option<u64> {
        self.entries.get(&pid)?.last().map(|entry| entry.serial)
    }

    /// Replaces what is known of a process that acted just now, or adds it.
    pub(super) fn store(
        &mut self,
        key: ProcessKey,
        known: Arc<KnownProcess>,
        cgroup: u64,
        parent: Option<ProcessKey>,
    ) {
        let entries = self.entries.get_mut(&key.pid);
        match entries.and_then(|entries| entries.iter_mut().rev().find(|entry| entry.key.agrees(key))) {
            Some(entry) => {
                entry.known = known;
                entry.inherited = false;
                entry.parent = entry.parent.or(parent);
                if cgroup != 0 {
                    entry.cgroup = cgroup;
                }
            }
            None => self.insert(Arrival { key: known.key, known, cgroup, inherited: false, parent }),
        }
    }

    /// Adds a process; at the bound the one that exited first makes room, and if all live it is refused.
    pub(super) fn insert(&mut self, arrival: Arrival) {
        let Arrival { key, known, cgroup, inherited, parent } = arrival;
        if self.size.entries >= self.size.bound {
            let Some((_, pid, serial)) = self.exits.pop_front() else {
                self.size.refused += 1;
                return;
            };
            self.remove(pid, serial);
            self.size.evicted += 1;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        self.entries.entry(key.pid).or_default().push(Entry {
            serial,
            key,
            known,
            cgroup,
            inherited,
            parent,
            exited: false,
            named: false,
        });
        self.size.entries += 1;
        self.queue_living(key.pid, serial);
    }

    fn queue_living(&mut self, pid: u32, serial: u64) {
        if self.living.len() >= 2 * self.size.bound {
            let mut living = std::mem::take(&mut self.living);
            // One that was revived before it was met is in it twice.
            let mut met = FxHashSet::default();
            living.retain(|(pid, serial)| self.is_alive(*pid, *serial) && met.insert(*serial));
            self.living = living;
        }
        self.living.push_back((pid, serial));
    }

    /// A process was asked for: see [`Generations::next_named`].
    pub(super) fn name(&mut self, pid: u32, serial: u64) {
        let Some(entry) = self.entry(pid, serial).filter(|entry| !entry.named) else { return };
        entry.named = true;
        if self.named.len() >= 2 * self.size.bound {
            let mut named = std::mem::take(&mut self.named);
            named.retain(|(pid, serial)| self.is_alive(*pid, *serial));
            self.named = named;
        }
        self.named.push_back((pid, serial));
    }

    /// The living process of those asked for that was not looked at for longest.
    pub(super) fn next_named(&mut self) -> Option<(u32, u64)> {
        loop {
            let (pid, serial) = self.named.pop_front()?;
            if self.is_alive(pid, serial) {
                self.named.push_back((pid, serial));
                return Some((pid, serial));
            }
        }
    }

    /// How many are asked for, as far as it is known.
    pub(super) fn named(&self) -> usize {
        self.named.len()
    }

    /// A process, whichever has this pid and serial.
    pub(super) fn at(&self, pid: u32, serial: u64) -> Option<&Entry> {
        self.entries.get(&pid)?.iter().find(|entry| entry.serial == serial)
    }

    /// Puts another description of the same process in place of the one it has.
    pub(super) fn describe(&mut self, pid: u32, serial: u64, known: Arc<KnownProcess>) {
        if let Some(entry) = self.entry(pid, serial) {
            entry.known = known;
        }
    }

    pub(super) fn mark_exited(&mut self, at: Timestamp, pid: u32, serial: u64) {
        if let Some(entry) = self.entry(pid, serial)
            && !entry.exited
        {
            entry.exited = true;
            self.exits.push_back((at, pid, serial));
        }
    }

    /// It was marked as exited, but goes on.
    pub(super) fn revive(&mut self, pid: u32, serial: u64) {
        if self.at(pid, serial).is_some_and(|entry| entry.exited) {
            // Mostly it was marked a moment ago.
            if let Some(place) = self.exits.iter().rposition(|(_, _, exited)| *exited == serial) {
                self.exits.remove(place);
            }
            self.keep(pid, serial);
        }
    }

    /// The same of one that [`Generations::next_expired`] gave.
    pub(super) fn keep(&mut self, pid: u32, serial: u64) {
        if let Some(entry) = self.entry(pid, serial) {
            entry.exited = false;
            self.queue_living(pid, serial);
        }
    }

    pub(super) fn remove(&mut self, pid: u32, serial: u64) {
        let Some(entries) = self.entries.get_mut(&pid) else { return };
        let before = entries.len();
        entries.retain(|entry| entry.serial != serial);
        self.size.entries -= before - entries.len();
        if entries.is_empty() {
            self.entries.remove(&pid);
        }
    }

    /// Takes the process that exited first, if that is at least `keep` nanoseconds ago; it is to be removed or kept.
    pub(super) fn next_expired(&mut self, now: Timestamp, keep: u64) -> Option<(u32, u64, ProcessKey)> {
        loop {
            let (exited, pid, serial) = *self.exits.front()?;
            if now.since(exited) < keep {
                return None;
            }
            self.exits.pop_front();
            if let Some(entry) = self.entry(pid, serial) {
                return Some((pid, serial, entry.key));
            }
        }
    }

    /// The living process that was not looked at for longest.
    pub(super) fn next_to_check(&mut self) -> Option<(u32, u64, ProcessKey)> {
        loop {
            let (pid, serial) = self.living.pop_front()?;
            if self.is_alive(pid, serial) {
                self.living.push_back((pid, serial));
                return self.entry(pid, serial).map(|entry| (pid, serial, entry.key));
            }
        }
    }

    fn entry(&mut self, pid: u32, serial: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&pid)?.iter_mut().find(|entry| entry.serial == serial)
    }

    fn is_alive(&self, pid: u32, serial: u64) -> bool {
        let entries = self.entries.get(&pid).map(Vec::as_slice).unwrap_or_default();
        entries.iter().any(|entry| entry.serial == serial && !entry.exited)
    }
}
