//! Sessions that were seen to begin, so that their resumptions can inherit (TLS ≤ 1.2).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

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
    origins: FxHashMap<SessionHandle, Origin>,
    order: VecDeque<SessionHandle>,
    evicted: u64,
}

impl Sessions {
    /// Keeps at most `bound` sessions.
    pub fn new(bound: usize) -> Self {
        Sessions { bound, origins: FxHashMap::default(), order: VecDeque::new(), evicted: 0 }
    }

    /// Remembers what a session's first handshake established. A handle that is known keeps its first origin: tickets are
    /// reissued by resumptions.
    pub fn remember(&mut self, handle: SessionHandle, origin: Origin) {
        if self.bound == 0 || self.origins.contains_key(&handle) {
            return;
        }
        if self.order.len() >= self.bound
            && let Some(oldest) = self.order.pop_front()
        {
            self.origins.remove(&oldest);
            self.evicted += 1;
        }
        self.order.push_back(handle);
        self.origins.insert(handle, origin);
    }

    /// The origin of a session.
    pub fn origin(&self, handle: &SessionHandle) -> Option<&Origin> {
        self.origins.get(handle)
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// How many were forgotten for room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
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
        for number in 0..3u8 {
            let origin = Origin {
                connection: key(number),
                server: None,
                authentication: Authentication::Mutual,
                client_chain: Arc::default(),
                server_chain: Arc::default(),
            };
            sessions.remember(SessionHandle([number; 32]), origin);
        }
        assert_eq!(sessions.len(), 2);
        assert_eq!(sessions.evicted(), 1);
        assert!(sessions.origin(&SessionHandle([0; 32])).is_none());
        assert_eq!(sessions.origin(&SessionHandle([2; 32])).unwrap().connection, key(2));
    }
}
