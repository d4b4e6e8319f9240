//! What all connections that are looked at hold together: each has its own bounds, which tens of thousands of connections
//! that wait behind a hole would multiply.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::ConnectionKey;

/// Connections in the order that may be over before it is cleaned: few enough not to matter (16 bytes each), and enough
/// that cleaning is rare.
const MAX_STALE: usize = 4096;

/// The sum, and who is to give way first.
#[derive(Debug)]
pub(super) struct Held {
    bound: usize,
    bytes: usize,
    /// Connections that hold something.
    holders: usize,
    /// They, begun longest ago first, and some that hold nothing any more.
    order: VecDeque<ConnectionKey>,
    cut: u64,
}

impl Held {
    /// Nothing is held yet, and never more than `bound` bytes for longer than a segment takes.
    pub fn new(bound: usize) -> Self {
        Held { bound, bytes: 0, holders: 0, order: VecDeque::new(), cut: 0 }
    }

    /// A connection begins to be looked at.
    pub fn begin(&mut self, key: ConnectionKey) {
        self.order.push_back(key);
    }

    /// A connection that held `before` bytes holds `now`: 0 once it is not looked at any more.
    pub fn change(&mut self, before: &mut u32, now: usize) {
        // What one connection can hold is less than 4 GiB by far.
        let now = u32::try_from(now).unwrap_or(u32::MAX);
        self.bytes = self.bytes - *before as usize + now as usize;
        self.holders = self.holders + usize::from(now > 0) - usize::from(*before > 0);
        *before = now;
    }

    /// Whether somebody has to give way.
    pub fn is_exceeded(&self) -> bool {
        self.bytes > self.bound
    }

    /// The connection that was begun longest ago, which leaves the order with that. It may hold nothing any more.
    pub fn take_oldest(&mut self) -> Option<ConnectionKey> {
        self.order.pop_front()
    }

    /// One has given way.
    pub fn note_cut(&mut self) {
        self.cut += 1;
    }

    /// Whether most of the order is of connections that hold nothing any more.
    pub fn is_stale(&self) -> bool {
        self.order.len() > 2 * self.holders + MAX_STALE
    }

    /// Keeps in the order what `holds` something, once: connections of a capture without times can have the name of one that
    /// has ended.
    pub fn clean(&mut self, mut holds: impl FnMut(ConnectionKey) -> bool) {
        let mut kept = FxHashSet::default();
        self.order.retain(|key| holds(*key) && kept.insert(*key));
        self.order.shrink_to(2 * self.order.len() + MAX_STALE);
    }

    /// Connections in the order.
    #[cfg(test)]
    pub fn order_len(&self) -> usize {
        self.order.len()
    }

    /// Bytes now.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Most bytes.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// How many have given way.
    pub fn cut(&self) -> u64 {
        self.cut
    }
}
