//! Reassembly: segments with sequence numbers → the bytes of one direction, in order.
//!
//! Enters: runs of payload bytes with their place in the sequence space, in any order, repeated,
//! overlapping, with holes. Leaves: in-order chunks (what comes in order is not copied), and how many bytes at the head are
//! missing.
//! Refuses: interpreting bytes, clocks, IO. Where runs overlap the first copy is read; if copies differ, the stream
//! says so: an observer before TCP's own checks cannot know which one the receiver took, and a peer can use that to
//! show the observer one thing and the receiver another.
//!
//! ```text
//!  offset 0        next                    held
//!  |--- read ------|..... hole .....|#########|...|####|
//! ```

use std::collections::BTreeMap;

use bytes::{Buf as _, Bytes};

use crate::event::Withheld;

/// Most bytes held back behind a hole, per direction: more than the largest budget makes no sense.
pub const MAX_HELD_BYTES: usize = 128 * 1024;
/// Most runs held back behind a hole, per direction: a handshake in one-byte segments, reordered by a window of this
/// size, still reassembles.
pub const MAX_HELD_RUNS: usize = 512;

/// Most bytes remembered after they were read, per direction, to compare repetitions with: a handshake with long chains.
pub const MAX_REMEMBERED_BYTES: usize = 32 * 1024;

/// Memory that a held run takes beside its bytes: its place in a tree of which the leaves may be half full, and the
/// allocator's own.
const RUN_OVERHEAD: usize = 128;

/// Room that is made for them with the second chunk: most handshakes need no more.
const REMEMBERED_FIRST: usize = 4 * 1024;

/// One direction of a TCP connection.
#[derive(Debug, Default)]
pub struct Stream {
    /// Sequence number of offset 0, once known.
    base: Option<u32>,
    /// Offset of the next byte to read.
    next: u64,
    /// Later runs by offset; may overlap each other.
    held: BTreeMap<u64, Chunk>,
    held_bytes: usize,
    /// The nearest range that its source withheld, and why its first byte.
    withheld: Option<(u64, u64, Withheld)>,
    remembered: Remembered,
    conflicting: bool,
    refused: u64,
}

/// Bytes that waited behind a hole, with what their sender had acknowledged when it sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The payload.
    pub bytes: Bytes,
    /// Offset in the opposite direction up to which the sender had received.
    pub acknowledged: u64,
}

/// What became of an inserted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted<'a> {
    /// These of its bytes are the next in order, and count as read. Held ones may follow, see [`Stream::read`].
    Next(&'a [u8]),
    /// Kept: it can be read when the hole before it closes.
    Kept,
    /// All of it had been read already.
    Duplicate,
    /// A bound was reached: it is lost, and counted by [`Stream::refused`].
    Refused,
}

impl Stream {
    /// A stream of which the sequence number of the first byte is known.
    pub fn starting_at(sequence: u32) -> Self {
        Stream::with_room(sequence, Vec::new())
    }

    /// The same, that remembers what was read in an empty buffer of another one, see [`Stream::forget_read`].
    pub fn with_room(sequence: u32, room: Vec<u8>) -> Self {
        let remembered = Remembered { bytes: room, ..Remembered::default() };
        Stream { base: Some(sequence), remembered, ..Stream::default() }
    }

    /// Whether the first byte's sequence number is known.
    pub fn is_anchored(&self) -> bool {
        self.base.is_some()
    }

    /// Tells the sequence number of the first byte; ignored if it is known.
    pub fn anchor(&mut self, sequence: u32) {
        self.base.get_or_insert(sequence);
    }

    /// Offset of the byte with this sequence number, taken to be within 2^31 of the next byte to read; 0 if it
    /// precedes the stream or the stream has no anchor.
    pub fn offset_of(&self, sequence: u32) -> u64 {
        self.signed_offset_of(sequence).map_or(0, |offset| u64::try_from(offset).unwrap_or(0))
    }

    fn signed_offset_of(&self, sequence: u32) -> Option<i64> {
        let base = self.base?;
        let next_sequence = base.wrapping_add(self.next as u32);
        let distance = sequence.wrapping_sub(next_sequence).cast_signed();
        Some(i64::try_from(self.next).ok()? + i64::from(distance))
    }

    /// Offset of the next byte to read.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Runs lost to a bound.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether two copies of the same bytes differed.
    pub fn is_conflicting(&self) -> bool {
        self.conflicting
    }

    /// Adds a run. An unanchored stream takes the first run as its beginning.
    pub fn insert<'a>(&mut self, sequence: u32, bytes: &'a [u8], acknowledged: u64) -> Inserted<'a> {
        self.anchor(sequence);
        let Some(offset) = self.signed_offset_of(sequence) else { return Inserted::Refused };
        let end = offset + bytes.len() as i64;
        let next = self.next as i64;
        // A keep-alive probe repeats the last byte, or any byte in its place (RFC 9293 section 3.8.4).
        let probe = bytes.len() == 1 && end == next;
        if !probe && (offset < next || !self.held.is_empty()) {
            self.conflicting |= self.differs(offset, bytes);
        }
        if end <= next {
            return Inserted::Duplicate;
        }
        if offset <= next {
            // The first copy wins: only what lies behind it is new.
            self.next = end as u64;
            return Inserted::Next(&bytes[(next - offset) as usize..]);
        }
        self.hold(offset as u64, bytes, acknowledged)
    }

    /// Whether bytes at an offset differ from another copy that is at hand.
    fn differs(&self, offset: i64, bytes: &[u8]) -> bool {
        let held = self.held.iter().map(|(offset, chunk)| (*offset, &chunk.bytes[..]));
        self.remembered.runs().chain(held).any(|(at, other)| {
            let at = at as i64;
            let begin = offset.max(at);
            let end = (offset + bytes.len() as i64).min(at + other.len() as i64);
            begin < end
                && bytes[(begin - offset) as usize..(end - offset) as usize]
                    != other[(begin - at) as usize..(end - at) as usize]
        })
    }

    /// Remembers the chunk that was read last, to compare repetitions with it. A stream that is not told its chunks compares
    /// only what has not been read.
    pub fn remember(&mut self, chunk: &[u8]) {
        self.remembered.add(self.next - chunk.len() as u64, chunk);
    }

    fn hold(&mut self, offset: u64, bytes: &[u8], acknowledged: u64) -> Inserted<'static> {
        if self.held.get(&offset).is_some_and(|held| held.bytes.len() >= bytes.len()) {
            return Inserted::Duplicate;
        }
        if self.held.len() >= MAX_HELD_RUNS || self.held_bytes + bytes.len() > MAX_HELD_BYTES {
            self.refused += 1;
            return Inserted::Refused;
        }
        // A longer run at the same offset keeps the shorter one's bytes as its head.
        let chunk = match self.held.remove(&offset) {
            Some(first) => {
                self.held_bytes -= first.bytes.len();
                let mut joined = first.bytes.to_vec();
                joined.extend_from_slice(&bytes[first.bytes.len()..]);
                Chunk { bytes: joined.into(), acknowledged: first.acknowledged }
            }
            None => Chunk { bytes: Bytes::copy_from_slice(bytes), acknowledged },
        };
        self.held_bytes += chunk.bytes.len();
        self.held.insert(offset, chunk);
        Inserted::Kept
    }

    /// The next bytes in order, if they were held. See [`Stream::remember`].
    pub fn read(&mut self) -> Option<Chunk> {
        while let Some(entry) = self.held.first_entry() {
            let offset = *entry.key();
            if offset > self.next {
                return None;
            }
            let mut chunk = entry.remove();
            self.held_bytes -= chunk.bytes.len();
            let read = self.next - offset;
            if read < chunk.bytes.len() as u64 {
                chunk.bytes.advance(read as usize);
                self.next += chunk.bytes.len() as u64;
                return Some(chunk);
            }
        }
        None
    }

    /// Notes that the source will not deliver `count` bytes from `sequence` on.
    pub fn withhold(&mut self, sequence: u32, count: u32, cause: Withheld) {
        let Some(offset) = self.signed_offset_of(sequence) else { return };
        let (from, to) = (offset.max(0) as u64, (offset + i64::from(count)).max(0) as u64);
        let next = self.next;
        self.withheld = match self.withheld.filter(|(_, end, _)| *end > next) {
            Some((begin, end, first)) if end >= from && to >= begin => {
                Some((begin.min(from), end.max(to), if begin <= from { first } else { cause }))
            }
            // Two ranges apart from each other: only the nearer one matters, the reader cannot pass it unread.
            Some(nearer) if nearer.0 <= from => Some(nearer),
            _ => Some((from, to, cause)),
        };
    }

    /// Why the source withheld the very next byte, if it did: that byte will never come.
    pub fn withheld_for(&self) -> Option<Withheld> {
        let covers = |(begin, end, _): &(u64, u64, Withheld)| *begin <= self.next && self.next < *end;
        self.withheld.filter(covers).map(|(_, _, cause)| cause)
    }

    /// How many bytes from the next one on are missing while later ones are at hand, or were withheld; 0 if none is known
    /// to be missing.
    pub fn missing(&self) -> u64 {
        let until_held =
            self.held.first_key_value().map_or(0, |(offset, _)| offset.saturating_sub(self.next));
        let withheld = match self.withheld {
            Some((begin, end, _)) if begin <= self.next => end.saturating_sub(self.next),
            _ => 0,
        };
        if until_held == 0 { withheld } else { until_held }
    }

    /// Bytes of memory that it takes beside itself.
    pub fn held(&self) -> usize {
        self.held_bytes + self.held.len() * RUN_OVERHEAD + self.remembered.room()
    }

    /// Lets go of what was read: repetitions of it are no longer compared. For a stream that is followed long, or over. Gives
    /// the buffer in which it stood, empty.
    pub fn forget_read(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.remembered).bytes;
        buffer.clear();
        buffer
    }

    /// Passes over bytes without seeing them.
    pub fn skip(&mut self, count: u64) {
        self.next += count;
    }
}

/// What was read of a direction, as far as it is remembered: at most [`MAX_REMEMBERED_BYTES`].
#[derive(Debug, Default)]
struct Remembered {
    bytes: Vec<u8>,
    /// Where bytes were passed over: how many are remembered of those before, and the offset of the next one in the stream.
    jumps: Vec<(usize, u64)>,
    /// Offset in the stream behind the last of them.
    end: u64,
}

impl Remembered {
    fn add(&mut self, offset: u64, chunk: &[u8]) {
        if self.bytes.len() + chunk.len() > MAX_REMEMBERED_BYTES {
            return;
        }
        match self.bytes.len() {
            // Whoever opens connections and says next to nothing gets no more memory than that.
            0 if self.bytes.capacity() < chunk.len() => self.bytes.reserve_exact(chunk.len()),
            0 => {}
            _ if self.bytes.capacity() < REMEMBERED_FIRST => {
                let room = REMEMBERED_FIRST.max(self.bytes.len() + chunk.len()) - self.bytes.len();
                self.bytes.reserve_exact(room);
            }
            _ => {}
        }
        if offset != self.end {
            self.jumps.push((self.bytes.len(), offset));
        }
        self.bytes.extend_from_slice(chunk);
        self.end = offset + chunk.len() as u64;
    }

    /// Bytes of memory that it takes beside itself.
    fn room(&self) -> usize {
        self.bytes.capacity() + self.jumps.capacity() * size_of::<(usize, u64)>()
    }

    /// What follows each other without a gap, with its offset in the stream.
    fn runs(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let begins = std::iter::once((0, 0)).chain(self.jumps.iter().copied());
        let ends = self.jumps.iter().map(|(begin, _)| *begin).chain([self.bytes.len()]);
        begins.zip(ends).map(|((begin, offset), end)| (offset, &self.bytes[begin..end]))
    }
}

#[cfg(test)]
mod tests;
