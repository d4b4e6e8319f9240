//! Sessions that were seen to begin, so that their resumptions can inherit (TLS ≤ 1.2).

use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{ConnectionKey, Fingerprint};
use crate::record::Authentication;
use crate::tls::SessionHandle;

/// What the handshake that began a session established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its connection.
    pub connection: ConnectionKey,
    /// The server's address as its client's socket, else its own, had it: a session counts only there.
    pub server: Option<SocketAddr>,
    /// What was established.
    pub authentication: Authentication,
    /// Leaf first.
    pub client_chain: Arc<[Fingerprint]>,
    /// Leaf first.
    pub server_chain: Arc<[Fingerprint]>,
}

/// Bounded memory of origins; the oldest goes first.
#[derive(Debug)]
pub struct Sessions {
    bound: usize,
    /// In the order in which they began; once full, the newest takes the place of the oldest.
    kept: Vec<(SessionHandle, Origin)>,
    /// The place of the oldest, once full.
    oldest: usize,
    /// Places by handle. The handles stand with their origins alone: that way the index fits into a processor's cache.
    places: HashTable<u32>,
    /// With a random key: whoever issues tickets chooses handles, by trial.
    hasher: RandomState,
    evicted: u64,
}

impl Sessions {
    /// Keeps at most `bound` sessions, less than 2^32.
    pub fn new(bound: usize) -> Self {
        Sessions {
            bound,
            kept: Vec::new(),
            oldest: 0,
            places: HashTable::new(),
            hasher: RandomState::default(),
            evicted: 0,
        }
    }

    /// Remembers what a session's first handshake established. A handle that is known keeps its first origin: tickets are
    /// reissued by resumptions.
    pub fn remember(&mut self, handle: SessionHandle, origin: Origin) {
        if self.bound == 0 || self.origin(&handle).is_some() {
            return;
        }
        let place = if self.kept.len() < self.bound {
            self.kept.push((handle, origin));
            self.kept.len() - 1
        } else {
            let place = self.oldest;
            let (forgotten, _) = std::mem::replace(&mut self.kept[place], (handle, origin));
            if let Ok(known) =
                self.places.find_entry(hash(&self.hasher, &forgotten), |at| *at as usize == place)
            {
                known.remove();
            }
            self.evicted += 1;
            self.oldest = (place + 1) % self.bound;
            place
        };
        let Sessions { kept, places, hasher, .. } = self;
        let hash_of = |at: &u32| hash(hasher, &kept[*at as usize].0);
        places.insert_unique(hash(hasher, &handle), place as u32, hash_of);
    }

    /// The origin of a session.
    pub fn origin(&self, handle: &SessionHandle) -> Option<&Origin> {
        let is_it = |at: &u32| self.kept[*at as usize].0 == *handle;
        let place = self.places.find(hash(&self.hasher, handle), is_it)?;
        self.kept.get(*place as usize).map(|(_, origin)| origin)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// How many were forgotten for room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

/// A handle is a hash already: a part of it tells it from others.
fn hash(hasher: &RandomState, SessionHandle([a, b, c, d, e, f, g, h, ..]): &SessionHandle) -> u64 {
    hasher.hash_one(u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    fn key(number: u8) -> ConnectionKey {
        ConnectionKey { opened: Timestamp(0), serial: number.into() }
    }

    #[test]
    fn the_oldest_session_is_forgotten_first() {
        let mut sessions = Sessions::new(2);
        for number in 0..7u8 {
            let origin = Origin {
                connection: key(number),
                server: None,
                authentication: Authentication::Mutual,
                client_chain: Arc::default(),
                server_chain: Arc::default(),
            };
            sessions.remember(SessionHandle([number; 32]), origin);
        }
        assert_eq!((sessions.len(), sessions.places.len()), (2, 2));
        assert_eq!(sessions.evicted(), 5);
        for (number, is_kept) in [(0, false), (4, false), (5, true), (6, true)] {
            let origin = sessions.origin(&SessionHandle([number; 32]));
            assert_eq!(origin.map(|origin| origin.connection), is_kept.then(|| key(number)));
        }
    }
}
