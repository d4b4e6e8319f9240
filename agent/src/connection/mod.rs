//! Connection: events of sockets → one connection each, with what is known of its authentication.
//!
//! Enters: [`Event`](crate::event::Event)s and the time. Leaves, through a [`Sink`]: connections when they are
//! first decided, when they change and when they end; certificates seen; decisions for the source. Both ends of
//! a local connection are one connection: they meet on the pair of initial sequence numbers,
//! which no address translation touches. Refuses: clocks, IO, process names, policy.
//!
//! ```text
//!  Connect ─┐             ┌─ Side client ─┐
//!  Established ─► Connection              ├─► Reading (two streams → Conversation) ─► Conclusion
//!  Segment ─┘             └─ Side server ─┘
//! ```

mod clear;
mod conclude;
mod conclusion;
mod decide;
mod early;
mod ends;
mod fingerprints;
mod held;
mod library;
mod owners;
mod passing;
mod reading;
mod remaining;
mod sessions;
mod settled;
mod side;
mod spare;
mod table;
mod watched;
mod wrapped;

pub use conclusion::{Conclusion, Evidence, Protocol};
pub use ends::Pass;
#[cfg(any(test, fuzzing))]
pub use library::fuzz;
pub use library::{LibraryCounts, LibraryOutcome, LibrarySummary, MAX_WHOLE as MAX_LIBRARY_WHOLE};
pub use settled::Settled;
pub use side::{End, Holder, HolderRole, OwnerSource, OwnerUnknown, Side};
pub use table::{Connections, Limits, TableSizes};

use std::net::SocketAddr;
use std::sync::Arc;

use crate::cleartext::{Credential, Upgrade};
use crate::event::{CloseReason, Decision, Role, SocketCookie, Timestamp};
use crate::tls::{self, IncompleteReason, TlsFacts};

/// Names a connection within one run of the agent; sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    /// First event.
    pub opened: Timestamp,
    /// Counts connections; in captures it is made of addresses and initial sequence numbers.
    pub serial: u64,
}

/// SHA-256 of a certificate's DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// One TCP connection as far as it is known.
#[derive(Debug)]
pub struct Connection {
    /// Its name, and when it began.
    pub key: ConnectionKey,
    /// When the first verdict fell.
    pub decided: Option<Timestamp>,
    /// When the end was seen, on the last socket of this host.
    pub closed: Option<Timestamp>,
    /// How it ended.
    pub close_reason: Option<CloseReason>,
    /// The initial sequence numbers plus one, client's first; `None` if the beginning was not seen.
    pub sequences: Option<(u32, u32)>,
    /// The client's socket, if it is on this host.
    pub client: Option<Box<Side>>,
    /// The server's.
    pub server: Option<Box<Side>>,
    /// Index of the interface on which it was first seen, 0 if not known.
    pub interface: u32,
    /// What is known of its protection and authentication.
    pub conclusion: Conclusion,
    /// What names a TLS connection on both hosts.
    pub session_id: Option<[u8; 16]>,
    /// What is kept of TLS: shared with all connections that say the same.
    pub settled: Option<Arc<Settled>>,
    /// The connection whose session this one resumes; few do.
    pub inherited_from: Option<Box<ConnectionKey>>,
    /// Payload bytes that were looked at in clear: client's, server's.
    pub examined: (u64, u64),
    /// The first credential that crossed in clear within them.
    pub credential: Option<Credential>,
    /// What made room for TLS.
    pub upgraded_from: Option<Upgrade>,
    /// Why bytes of the beginning are missing, if they are.
    pub incomplete: Option<IncompleteReason>,
    /// Payload bytes in all at close: client's, server's.
    pub bytes: Option<(u64, u64)>,
    /// Payload bytes of both directions that the source delivered, counted once per socket that saw them.
    pub shipped: u64,
    /// How many of them were TLS handshake.
    pub handshake_shipped: u64,
    /// Payload bytes of client and server up to the end of the handshake, once it is concluded.
    handshake_ends: Option<(u32, u32)>,
    /// Sizes of the encrypted flights of TLS 1.3, once they are concluded from.
    flights: Option<tls::Flights>,
    /// It is of a capture: no library will say anything about it.
    captured: bool,
    /// What TLS libraries of this host said.
    library: Option<Box<library::Witness>>,
    reading: Option<Box<reading::Reading>>,
    /// Only in captures.
    watched: Option<Box<watched::Watched>>,
    /// Bytes that these two hold, as they count in the sum of all.
    held: u32,
    subflow: bool,
    /// It is read from where the source met it, which is not known to be its beginning.
    missed: bool,
}

impl Connection {
    /// The side of a role.
    pub fn side(&self, role: Role) -> Option<&Side> {
        match role {
            Role::Client => self.client.as_deref(),
            Role::Server => self.server.as_deref(),
        }
    }

    fn side_mut(&mut self, role: Role) -> &mut Option<Box<Side>> {
        match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        }
    }

    /// The server's address as its client's socket has it, else its own.
    fn server_address(&self) -> Option<SocketAddr> {
        let dialled = self.client.as_ref().map(|side| side.pair.remote);
        dialled.or_else(|| self.server.as_ref().map(|side| side.pair.local))
    }

    /// TLS facts, without the certificates' bytes.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.settled.as_ref().map(|settled| &settled.tls)
    }

    /// Fingerprints of the certificates that a role presented, leaf first.
    pub fn chain(&self, role: Role) -> &[Fingerprint] {
        match (&self.settled, role) {
            (None, _) => &[],
            (Some(settled), Role::Client) => &settled.client_chain,
            (Some(settled), Role::Server) => &settled.server_chain,
        }
    }

    /// Sockets of it that are on this host.
    pub fn sockets(&self) -> impl Iterator<Item = SocketCookie> + '_ {
        self.client.iter().chain(self.server.iter()).map(|side| side.socket)
    }

    /// All its sockets of this host are closed.
    fn is_over(&self) -> bool {
        self.client.iter().chain(&self.server).all(|side| side.closed.is_some())
    }

    /// Of each of its sockets of this host a holder is known.
    fn is_owned(&self) -> bool {
        self.client.iter().chain(&self.server).all(|side| !side.holders.is_empty())
    }
}

/// Why a connection is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// First verdict, or a change since; more may follow.
    Open,
    /// It ended: nothing will follow.
    Final,
}

#[cfg(test)]
mod tests;

/// Takes what leaves the room.
pub trait Sink {
    /// Tells the source what is still wanted of a socket.
    fn decide(&mut self, socket: SocketCookie, decision: Decision);
    /// The source can forget a socket.
    fn forget(&mut self, socket: SocketCookie);
    /// A certificate was seen, in clear or at a library, presented by `role`.
    fn certificate(&mut self, der: &bytes::Bytes, fingerprint: Fingerprint, role: Role);
    /// A connection was decided, changed or ended.
    fn connection(&mut self, connection: &Connection, stage: Stage);
    /// A server's socket is decided and nobody is known to hold it: it may be worth asking who does.
    fn owner_wanted(&mut self, socket: SocketCookie);
}
