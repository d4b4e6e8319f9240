//! What arrives before the connection it belongs to: a client's connect(2), and data on the listening socket.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::{AddressPair, Connect, NetworkNamespace, Segment, SocketCookie, Timestamp};

/// connect(2) calls that wait for their handshake: a burst of new connections, or a scan of silent hosts.
const MAX_CONNECTS: usize = 65_536;
/// Linux gives up a connect(2) after about 127 s (tcp_syn_retries = 6).
const CONNECT_LIFETIME: u64 = 180_000_000_000;
/// Segments that wait on a listening socket: the last packet of a passive open precedes the event of its socket by
/// microseconds.
const MAX_SEGMENTS: usize = 4096;
const SEGMENT_LIFETIME: u64 = 10_000_000_000;

/// Bounded waiting rooms; what waits too long is dropped and counted.
#[derive(Debug, Default)]
pub struct Early {
    connects: FxHashMap<SocketCookie, Connect>,
    connect_order: VecDeque<(Timestamp, SocketCookie)>,
    segments: VecDeque<(AddressPair, NetworkNamespace, Segment)>,
    evicted: u64,
}

impl Early {
    /// Keeps a connect until its connection is established.
    pub fn connect(&mut self, event: Connect) {
        if self.connects.len() >= MAX_CONNECTS
            && let Some((_, oldest)) = self.connect_order.pop_front()
            && self.connects.remove(&oldest).is_some()
        {
            self.evicted += 1;
        }
        self.connects.insert(event.socket, event);
        self.connect_order.push_back((event.at, event.socket));
    }

    /// The connect of a socket that is now established.
    pub fn take_connect(&mut self, socket: SocketCookie) -> Option<Connect> {
        self.connects.remove(&socket)
    }

    /// Keeps a segment that a listening socket saw.
    pub fn segment(&mut self, pair: AddressPair, netns: NetworkNamespace, segment: Segment) {
        if self.segments.len() >= MAX_SEGMENTS {
            self.segments.pop_front();
            self.evicted += 1;
        }
        self.segments.push_back((pair, netns, segment));
    }

    /// The segments for a socket that is now established, in order.
    pub fn take_segments(&mut self, pair: AddressPair, netns: NetworkNamespace) -> Vec<Segment> {
        if self.segments.is_empty() {
            return Vec::new();
        }
        let mut taken = Vec::new();
        self.segments.retain_mut(|(of, at, segment)| {
            let matches = (*of, *at) == (pair, netns);
            if matches {
                taken.push(segment.clone());
            }
            !matches
        });
        taken
    }

    /// Drops what waited too long.
    pub fn sweep(&mut self, now: Timestamp) {
        while let Some((at, socket)) = self.connect_order.front().copied() {
            let waits = self.connects.get(&socket).is_some_and(|connect| connect.at == at);
            if waits && now.since(at) < CONNECT_LIFETIME {
                break;
            }
            self.connect_order.pop_front();
            if waits {
                self.connects.remove(&socket);
            }
        }
        // One silent host at the front must not let the order grow without bound.
        if self.connect_order.len() > 2 * MAX_CONNECTS {
            let connects = &self.connects;
            self.connect_order
                .retain(|(at, socket)| connects.get(socket).is_some_and(|connect| connect.at == *at));
        }
        while let Some((_, _, segment)) = self.segments.front()
            && now.since(segment.at) >= SEGMENT_LIFETIME
        {
            self.segments.pop_front();
            self.evicted += 1;
        }
    }

    /// Most that ever wait.
    pub const BOUND: usize = MAX_CONNECTS + MAX_SEGMENTS;

    /// How many wait.
    pub fn len(&self) -> usize {
        self.connects.len() + self.segments.len()
    }

    /// How many were dropped for room or age.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}
