//! The workloads of this host since the start: what their connections say of them, counted once per connection.
//!
//! ```text
//! revision of a connection ──► its answer at each local end ──► entry of the workload ◄── readers, one entry at a time
//!                                        │ kept with the connection: the next revision takes it back
//! ```

mod entry;
mod expiry;
mod presented;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::ownership::Owners;
use crate::record::{
    CertificateRecord, ConnectionRecord, EndpointRecord, KnownWorkloadRecord, SideName, WallTime,
    WorkloadRecord,
};
use crate::verdict::{self, FitRule};
use entry::{Answer, End, Entry};
pub use expiry::{Expiring, ExpiringCertificate};
use presented::Room;

/// Workloads remembered: the largest nodes run some hundred pods and as many units; sessions and containers come and go.
pub const MAX_WORKLOADS: usize = 4096;
/// Leaves remembered over all workloads: two for each; the largest takes some five kilobytes.
pub const MAX_PRESENTED: usize = 2 * MAX_WORKLOADS;

/// Bounded memory of workloads, shared between the pipeline and readers; a clone is the same memory.
#[derive(Debug, Clone)]
pub struct Workloads {
    book: Arc<Mutex<Book>>,
}

/// What a connection has said so far of the workloads at its ends; nothing before its first revision.
#[derive(Debug, Default)]
pub struct Noted {
    answers: [Option<Answer>; 2],
    /// Ends of which the workload found no room, and was counted.
    left_out: [bool; 2],
    is_open: bool,
}

/// Leaves of both chains, as far as they are remembered.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leaves<'a> {
    /// Of the client.
    pub client: Option<&'a CertificateRecord>,
    /// Of the server.
    pub server: Option<&'a CertificateRecord>,
}

/// How full the memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkloadSizes {
    /// Workloads.
    pub workloads: usize,
    /// Workloads that were forgotten for room, or found none.
    pub workloads_left_out: u64,
    /// Leaves.
    pub presented: usize,
    /// Leaves that were forgotten for room, or found none.
    pub presented_left_out: u64,
}

#[derive(Debug)]
struct Book {
    host: Option<String>,
    bound: usize,
    /// Sorted, so that a reader can go on behind the one it read last.
    ids: BTreeMap<String, u64>,
    entries: FxHashMap<u64, Held>,
    next_id: u64,
    left_out: u64,
    /// For the leaves of all entries.
    room: Room,
    rules: Arc<Rules>,
    /// The key at hand.
    key: String,
}

/// What is said of workloads when they are told: by what is in force then.
#[derive(Debug, Default)]
struct Rules {
    owners: Arc<Owners>,
    identities: Vec<Arc<FitRule>>,
}

/// What decides which entry is forgotten stands beside it, so that looking for that one touches no entry.
#[derive(Debug)]
struct Held {
    /// A [`WallTime`]; the end of time while a connection is open.
    unseen_since: i64,
    entry: Box<Entry>,
}

impl Workloads {
    /// Remembers nothing yet. `host` is this host's name.
    pub fn new(host: Option<String>) -> Self {
        Self::with_bounds(host, MAX_WORKLOADS, MAX_PRESENTED)
    }

    fn with_bounds(host: Option<String>, workloads: usize, presented: usize) -> Self {
        let book = Book {
            host,
            bound: workloads,
            ids: BTreeMap::new(),
            entries: FxHashMap::default(),
            next_id: 0,
            left_out: 0,
            room: Room::new(presented),
            rules: Arc::default(),
            key: String::new(),
        };
        Workloads { book: Arc::new(Mutex::new(book)) }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a revision of a connection says of the workloads at its ends that are on this host, in place of what
    /// the revision before it said.
    pub fn note(&self, connection: &ConnectionRecord, leaves: Leaves<'_>, now: WallTime, noted: &mut Noted) {
        let (client, server) = (&connection.client, &connection.server);
        let ends = [
            End { side: SideName::Client, own: client, peer: server, leaf: leaf(leaves.client, client) },
            End { side: SideName::Server, own: server, peer: client, leaf: leaf(leaves.server, server) },
        ];
        let is_open = !connection.r#final;
        let mut book = self.lock();
        let mut left_out = noted.left_out;
        let answers = ends.map(|end| {
            let left_out = &mut left_out[end.side as usize];
            book.enter(connection, &end, is_open, now, left_out)
        });
        // Afterwards: a workload with one connection is not forgotten in between.
        let before = std::mem::replace(noted, Noted { answers, left_out, is_open });
        book.take_back(&before, now);
    }

    /// The connection has ended, and what it said stands.
    pub fn ended(&self, noted: &Noted, now: WallTime) {
        let mut book = self.lock();
        for answer in noted.answers.iter().flatten().filter(|_| noted.is_open) {
            if let Some(held) = book.entries.get_mut(&answer.workload) {
                held.entry.close(now);
                held.touch();
            }
        }
    }

    /// The first workload whose key is behind `key`, or the very first. A reader that goes from one to the next holds
    /// nothing up and nothing in memory; each workload is told as it is at that moment.
    pub fn after(&self, key: Option<&str>) -> Option<KnownWorkloadRecord> {
        let book = self.lock();
        let begin = key.map_or(Bound::Unbounded, Bound::Excluded);
        let (key, id) = book.ids.range::<str, _>((begin, Bound::Unbounded)).next()?;
        let mut known = book.entries.get(id)?.entry.record(key, book.host.as_ref());
        let rules = Arc::clone(&book.rules);
        drop(book);
        known.labels = rules.owners.of_workload(&known.workload).cloned();
        for presented in &mut known.certificates {
            let answer = verdict::fit(Some(&known.workload), &presented.leaf(), &rules.identities);
            presented.identity_fit = Some(answer.into());
        }
        Some(known)
    }

    /// Names these owners, and judges identities by these rules, from now on.
    pub fn set_rules(&self, owners: Arc<Owners>, identities: Vec<Arc<FitRule>>) {
        self.lock().rules = Arc::new(Rules { owners, identities });
    }

    /// How full it is.
    pub fn sizes(&self) -> WorkloadSizes {
        let book = self.lock();
        WorkloadSizes {
            workloads: book.entries.len(),
            workloads_left_out: book.left_out,
            presented: book.room.taken(),
            presented_left_out: book.room.left_out(),
        }
    }
}

/// The leaf that an end presented, unless the one at hand is another.
fn leaf<'a>(leaf: Option<&'a CertificateRecord>, end: &EndpointRecord) -> Option<&'a CertificateRecord> {
    leaf.filter(|leaf| end.certificates.first() == Some(&leaf.sha256))
}

impl Book {
    /// Counts what one end says of its workload, if it has one.
    fn enter(
        &mut self,
        connection: &ConnectionRecord,
        end: &End<'_>,
        is_open: bool,
        now: WallTime,
        left_out: &mut bool,
    ) -> Option<Answer> {
        let workload = end.own.workload.as_ref().filter(|_| connection.observed_from.contains(&end.side))?;
        let Some(id) = self.id(workload, now) else {
            // Once for each connection, however many revisions it has.
            self.left_out += u64::from(!std::mem::replace(left_out, true));
            return None;
        };
        self.make_leaf_room(id, end);
        let held = self.entries.get_mut(&id)?;
        held.entry.name(workload, end.own, now);
        let answer = held.entry.count(id, connection, end, now, &mut self.room);
        if is_open {
            held.entry.open();
        }
        held.touch();
        Some(answer)
    }

    /// The entry of a workload, a new one if there is none; `None` if there is no room for it.
    fn id(&mut self, workload: &Arc<WorkloadRecord>, now: WallTime) -> Option<u64> {
        self.key.clear();
        workload.write_key(&mut self.key);
        if let Some(id) = self.ids.get(self.key.as_str()) {
            return Some(*id);
        }
        if self.entries.len() >= self.bound {
            self.forget_one()?;
            self.left_out += 1;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.ids.insert(self.key.clone(), id);
        let entry = Box::new(Entry::new(Arc::clone(workload), now));
        self.entries.insert(id, Held { unseen_since: now.0, entry });
        Some(id)
    }

    /// Forgets the workload that has not been seen for longest; none of those with open connections.
    fn forget_one(&mut self) -> Option<()> {
        let oldest = self.entries.iter().min_by_key(|(id, held)| (held.unseen_since, **id));
        let id = oldest.filter(|(_, held)| held.unseen_since < i64::MAX).map(|(id, _)| *id)?;
        self.remove(id);
        Some(())
    }

    /// If an entry gets one more leaf and there is no room, the workload with the most leaves forgets its oldest: no one takes
    /// the place of those that have few.
    fn make_leaf_room(&mut self, id: u64, end: &End<'_>) {
        let needs_room = self.entries.get(&id).is_some_and(|held| held.entry.needs_room(end));
        if !(needs_room && self.room.is_full()) {
            return;
        }
        let most = self.entries.iter_mut().max_by_key(|(id, held)| {
            let (leaves, oldest) = held.entry.leaves();
            (leaves, Reverse((oldest, **id)))
        });
        if let Some((_, held)) = most {
            held.entry.forget_leaf(&mut self.room);
        }
    }

    fn remove(&mut self, id: u64) {
        if let Some(mut held) = self.entries.remove(&id) {
            held.entry.give_back(&mut self.room);
            self.ids.remove(&held.entry.key());
        }
    }

    /// Takes back what a connection has said. A workload of which nothing is left was a mistake.
    fn take_back(&mut self, noted: &Noted, now: WallTime) {
        for answer in noted.answers.iter().flatten() {
            // If it was forgotten there is nothing to take back.
            let Some(held) = self.entries.get_mut(&answer.workload) else { continue };
            if noted.is_open {
                held.entry.close(now);
            }
            held.entry.take_back(answer, &mut self.room);
            held.touch();
            if held.entry.is_empty() {
                self.remove(answer.workload);
            }
        }
    }
}

impl Held {
    fn touch(&mut self) {
        self.unseen_since = self.entry.unseen_since();
    }
}
