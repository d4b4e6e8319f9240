//! The leaves that a workload presented.

use std::collections::BTreeMap;

use super::entry::End;
use crate::connection::OwnerSource;
use crate::record::*;

/// Bytes that the names of a leaf may take: some 80 of usual length. Certificates of workloads have one or two, those of
/// CDNs have more.
const MAX_NAME_BYTES: usize = 4096;

/// Bounds the leaves of all workloads.
#[derive(Debug)]
pub(super) struct Room {
    bound: usize,
    taken: usize,
    left_out: u64,
}

impl Room {
    pub(super) fn new(bound: usize) -> Self {
        Room { bound, taken: 0, left_out: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken >= self.bound
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[derive(Debug, Default)]
pub(super) struct Presented {
    /// In no order.
    leaves: Vec<Leaf>,
    next_id: u32,
    left_out: u64,
}

#[derive(Debug)]
struct Leaf {
    id: u32,
    record: PresentedRecord,
}

impl Presented {
    /// Counts the leaf that an end presented, if it did. Gives its id, if there is room for it.
    pub(super) fn count(&mut self, end: &End<'_>, now: WallTime, room: &mut Room) -> Option<u32> {
        let sha256 = shown(end)?;
        let place = match self.place(sha256) {
            Some(place) => place,
            None => self.add(sha256, now, room)?,
        };
        let Leaf { id, record } = &mut self.leaves[place];
        if record.identity.is_none() && record.names_left_out == 0 {
            name(record, end);
        }
        *role(record, end.side) += 1;
        if let Some(verification) = end.peer.verification {
            *record.verification.entry(verification).or_default() += 1;
        }
        record.last_seen = record.last_seen.max(now);
        Some(*id)
    }

    fn place(&self, sha256: &str) -> Option<usize> {
        self.leaves.iter().position(|leaf| leaf.record.sha256 == sha256)
    }

    /// Whether there must be room for one more leaf before this end is counted.
    pub(super) fn needs_room(&self, end: &End<'_>) -> bool {
        self.leaves.len() < KnownWorkloadRecord::MAX_CERTIFICATES
            && shown(end).is_some_and(|sha256| self.place(sha256).is_none())
    }

    /// How many leaves there are, and when the oldest was seen last.
    pub(super) fn size(&self) -> (usize, Option<WallTime>) {
        (self.leaves.len(), self.leaves.iter().map(|leaf| leaf.record.last_seen).min())
    }

    /// Forgets the leaf that has not been seen for longest.
    pub(super) fn forget_oldest(&mut self, room: &mut Room) {
        let oldest = self.leaves.iter().enumerate().min_by_key(|(_, leaf)| leaf.record.last_seen);
        if let Some(place) = oldest.map(|(place, _)| place) {
            self.leaves.swap_remove(place);
            room.taken -= 1;
            room.left_out += 1;
            self.left_out += 1;
        }
    }

    /// One more leaf, at the cost of the oldest if there are too many.
    fn add(&mut self, sha256: &str, now: WallTime, room: &mut Room) -> Option<usize> {
        if self.leaves.len() >= KnownWorkloadRecord::MAX_CERTIFICATES {
            self.forget_oldest(room);
        }
        if room.is_full() {
            return None;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.leaves.push(Leaf { id, record: nameless(sha256, now) });
        room.taken += 1;
        Some(self.leaves.len() - 1)
    }

    pub(super) fn take_back(
        &mut self,
        id: u32,
        side: SideName,
        verification: Option<VerificationName>,
        room: &mut Room,
    ) {
        // If it was forgotten there is nothing to take back.
        let Some(place) = self.leaves.iter().position(|leaf| leaf.id == id) else { return };
        let record = &mut self.leaves[place].record;
        let count = role(record, side);
        *count = count.saturating_sub(1);
        if let Some(verification) = verification
            && let Some(count) = record.verification.get_mut(&verification)
        {
            *count -= 1;
            if *count == 0 {
                record.verification.remove(&verification);
            }
        }
        if record.client == 0 && record.server == 0 {
            self.leaves.swap_remove(place);
            room.taken -= 1;
        }
    }

    pub(super) fn give_back(&mut self, room: &mut Room) {
        room.taken -= self.leaves.len();
        self.leaves.clear();
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn leaves(&self) -> impl Iterator<Item = &PresentedRecord> {
        self.leaves.iter().map(|leaf| &leaf.record)
    }

    /// The latest first.
    pub(super) fn records(&self) -> Vec<PresentedRecord> {
        let mut records: Vec<PresentedRecord> = self.leaves.iter().map(|leaf| leaf.record.clone()).collect();
        records.sort_by(|one, other| (other.last_seen, &one.sha256).cmp(&(one.last_seen, &other.sha256)));
        records
    }
}

/// Fingerprint of the leaf that the owner of an end showed. Whoever listens may be another than who did.
fn shown<'a>(end: &End<'a>) -> Option<&'a String> {
    let is_guess = end.own.owner_source.as_deref() == Some(OwnerSource::Listener.as_str());
    end.own.certificates.first().filter(|_| !is_guess)
}

/// A leaf of which nothing but the fingerprint is known.
fn nameless(sha256: &str, now: WallTime) -> PresentedRecord {
    PresentedRecord {
        sha256: sha256.to_owned(),
        spki_sha256: None,
        identity: None,
        spiffe_id: None,
        san: SubjectAlternativeNames::default(),
        subject: None,
        issuer: None,
        not_before: None,
        not_after: None,
        names_left_out: 0,
        client: 0,
        server: 0,
        verification: BTreeMap::new(),
        parse_error: None,
        identity_fit: None,
        first_seen: now,
        last_seen: now,
    }
}

fn role(record: &mut PresentedRecord, side: SideName) -> &mut u64 {
    match side {
        SideName::Client => &mut record.client,
        SideName::Server => &mut record.server,
    }
}

/// Takes what the leaf says over, as far as there is room for names.
fn name(record: &mut PresentedRecord, end: &End<'_>) {
    let mut names = Names { room: MAX_NAME_BYTES, left_out: 0 };
    record.identity = names.one(end.own.identity.as_ref());
    if let Some(leaf) = end.leaf {
        record.spki_sha256.clone_from(&leaf.spki_sha256);
        (record.not_before, record.not_after) = (leaf.not_before, leaf.not_after);
        record.parse_error.clone_from(&leaf.parse_error);
        record.spiffe_id = names.one(leaf.spiffe_id.as_ref());
        record.san = SubjectAlternativeNames {
            dns: names.list(&leaf.san.dns),
            uri: names.list(&leaf.san.uri),
            ip: names.list(&leaf.san.ip),
            email: names.list(&leaf.san.email),
            unread: leaf.san.unread,
        };
        record.subject = names.one(leaf.subject.as_ref());
        record.issuer = names.one(leaf.issuer.as_ref());
    }
    record.names_left_out = names.left_out;
}

struct Names {
    room: usize,
    left_out: u32,
}

impl Names {
    fn one(&mut self, name: Option<&String>) -> Option<String> {
        let name = name?;
        let Some(room) = self.room.checked_sub(name.len() + size_of::<String>()) else {
            self.left_out += 1;
            return None;
        };
        self.room = room;
        Some(name.clone())
    }

    fn list(&mut self, names: &[String]) -> Vec<String> {
        names.iter().filter_map(|name| self.one(Some(name))).collect()
    }
}
