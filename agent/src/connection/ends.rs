//! How connections begin, how their two ends meet, and how they end.

use std::collections::HashSet;

use rustc_hash::FxHashSet;

use super::side::{End, HolderRole, OwnerSource, OwnerUnknown, Side};
use super::{Conclusion, ConnectionKey, Connections, Protocol, Sink, Stage};
use crate::event::{
    AddressPair, Beginning, CloseReason, Closed, Decision, Established, Existing, NetworkNamespace, Role,
    SocketCookie, Timestamp,
};

use crate::tls::{IncompleteReason, UnknownReason};

/// What a pass over open files found.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// Open sockets that the pass before found.
    pub before: &'a FxHashSet<SocketCookie>,
    /// Those that this one found.
    pub found: &'a FxHashSet<SocketCookie>,
    /// Those that were missing for the first time in the pass before.
    pub doubtful: &'a FxHashSet<SocketCookie>,
    /// Network namespaces of which this one found every open socket; `None` for all.
    pub covered: Option<&'a HashSet<NetworkNamespace>>,
}

/// A socket that no pass over open files ever found counts as ended after this time, if events were lost since.
const NEVER_FOUND: u64 = 3600 * 1_000_000_000;

impl Connections {
    pub(super) fn establish(&mut self, event: &Established, sink: &mut dyn Sink) {
        let sequences = match event.role {
            Role::Client => (event.first_sent, event.first_received),
            Role::Server => (event.first_received, event.first_sent),
        };
        let mut side = Side::new(event.socket, event.pair, event.netns);
        if let Some(connect) = self.early.take_connect(event.socket) {
            side.dialled = Some(connect.dialled);
            side.hold(connect.task, HolderRole::Connect, OwnerSource::Connect);
        }
        let key = match self.met(event, sequences) {
            Some(key) => {
                self.forget_numbers(key);
                key
            }
            None => {
                let Some(key) = self.create(event.at, Some(sequences), event.pair) else {
                    sink.decide(event.socket, Decision::Stop);
                    return;
                };
                // A capture shows both ends at one place, which counts as the client's.
                if !self.of_capture {
                    self.unmet.insert(sequences, key);
                    self.unmet_clients.insert(sequences.0, key);
                }
                self.young.push_back((event.at, key));
                key
            }
        };
        self.join(event.socket, key, event.role, sink);
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let server_first = connection.sequences.map_or(sequences.1, |(_, server)| server);
        side.server_shift = server_first.wrapping_sub(sequences.1);
        *connection.side_mut(event.role) = Some(Box::new(side));
        if event.beginning == Beginning::Missed {
            connection.missed = true;
            connection.conclusion = Conclusion::unknown(Protocol::Unknown, UnknownReason::MidStream);
            connection.incomplete = Some(IncompleteReason::MidStream);
        }
        let decided = connection.decided.is_some() && connection.reading.is_none();
        if event.role == Role::Server {
            self.accepting.insert((event.netns, event.pair), key);
            for segment in self.early.take_segments(event.pair, event.netns) {
                self.feed(key, Role::Server, segment.as_slice(), sink);
            }
        }
        if decided {
            sink.decide(event.socket, Decision::Stop);
            self.publish(key, Stage::Open, sink);
        }
    }

    /// The connection of which this is the other end: it has the same pair of numbers. Behind a SYN proxy the server's is another
    /// one; then the client's number, address and port must be the same.
    fn met(&self, event: &Established, sequences: (u32, u32)) -> Option<ConnectionKey> {
        let other = |key: &ConnectionKey| {
            let connection = self.connections.get(key)?;
            connection.side(event.role).is_none().then_some(connection)
        };
        if let Some(key) = self.unmet.get(&sequences).filter(|key| other(key).is_some()) {
            return Some(*key);
        }
        let key = self.unmet_clients.get(&sequences.0)?;
        let same_client = match event.role {
            Role::Client => other(key)?.server.as_ref()?.pair.remote == event.pair.local,
            Role::Server => other(key)?.client.as_ref()?.pair.local == event.pair.remote,
        };
        same_client.then_some(*key)
    }

    /// A program may connect a socket again: what it was before is over.
    fn join(&mut self, socket: SocketCookie, key: ConnectionKey, role: Role, sink: &mut dyn Sink) {
        if let Some((older, _)) = self.sockets.insert(socket, (key, role))
            && older != key
        {
            self.finish(older, sink);
        }
    }

    pub(super) fn subflow(&mut self, socket: SocketCookie, sink: &mut dyn Sink) {
        let Some(&(key, _)) = self.sockets.get(&socket) else { return };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.subflow = true;
        connection.reading = None;
        self.held.change(&mut connection.held, 0);
        sink.decide(socket, Decision::Stop);
    }

    pub(super) fn existing(&mut self, event: &Existing, sink: &mut dyn Sink) {
        if let Some(key) = self.meet(event, sink) {
            self.republish(key, sink);
        }
    }

    /// Takes what one pass over open files has found: each connection is reported once, with both its ends.
    pub fn handle_pass(&mut self, found: &[Existing], sink: &mut dyn Sink) {
        let mut met: Vec<ConnectionKey> = found.iter().filter_map(|event| self.meet(event, sink)).collect();
        met.sort_unstable();
        met.dedup();
        for key in met {
            self.republish(key, sink);
        }
    }

    /// The connection that an open socket belongs to, if there is news of it.
    fn meet(&mut self, event: &Existing, sink: &mut dyn Sink) -> Option<ConnectionKey> {
        if let Some(&(key, role)) = self.sockets.get(&event.socket) {
            let (side, task) = (self.side_mut(key, role)?, event.owner?);
            return side.hold(task, HolderRole::Use, OwnerSource::Iterator).then_some(key);
        }
        let met = self.unmet_existing.get(&event.pair.mirrored()).copied();
        let other = met.and_then(|key| self.connections.get(&key)).map(|met| match met.client {
            Some(_) => Role::Client,
            None => Role::Server,
        });
        let role = match (event.role, other) {
            (Some(role), _) => role,
            (None, Some(Role::Client)) => Role::Server,
            (None, Some(Role::Server)) => Role::Client,
            (None, None) => likely_role(event.pair),
        };
        let key = match met.filter(|_| other != Some(role)) {
            Some(key) => key,
            None => {
                let key = self.create(event.at, None, event.pair)?;
                self.unmet_existing.insert(event.pair, key);
                self.young.push_back((event.at, key));
                key
            }
        };
        let mut side = Side::new(event.socket, event.pair, event.netns);
        side.owner_unknown = OwnerUnknown::BeforeAgent;
        if let Some(task) = event.owner {
            side.hold(task, HolderRole::Use, OwnerSource::Iterator);
        }
        self.join(event.socket, key, role, sink);
        if let Some(connection) = self.connections.get_mut(&key) {
            *connection.side_mut(role) = Some(Box::new(side));
            connection.decided = Some(event.at);
        }
        Some(key)
    }

    pub(super) fn close(&mut self, event: &Closed, sink: &mut dyn Sink) {
        if self.sockets.contains_key(&event.socket) {
            self.end(event.socket, event.at, Some((event.sent, event.received)), event.reason, sink);
        } else {
            self.early.take_connect(event.socket);
            sink.forget(event.socket);
        }
    }

    /// A socket has ended; without byte counts if that was not seen but noticed.
    pub(super) fn end(
        &mut self,
        socket: SocketCookie,
        at: Timestamp,
        bytes: Option<(u64, u64)>,
        reason: CloseReason,
        sink: &mut dyn Sink,
    ) {
        let Some(&(key, role)) = self.sockets.get(&socket) else { return };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if let Some(side) = connection.side_mut(role) {
            side.closed.get_or_insert(End { bytes });
        }
        connection.closed = Some(at);
        // The end that was closed first says how: the other one only answers.
        connection.close_reason.get_or_insert(reason);
        match (connection.is_over(), connection.is_owned() || self.of_capture) {
            (true, true) => self.finish(key, sink),
            (true, false) => self.unowned.push_back((at, key)),
            (false, _) => self.lingering.push_back((at, key)),
        }
    }

    /// Ends connections of which the end was lost: sockets that an earlier pass over all open files found and two
    /// later ones did not. One proves nothing: a closed socket may wait for its peer. One that was never found (not
    /// accepted yet, or of the kernel) gets [`NEVER_FOUND`]. Sockets in namespaces that the pass did not cover are left as they
    /// are. Returns the sockets that are missing for the first time.
    pub fn reconcile(
        &mut self,
        pass: &Pass<'_>,
        now: Timestamp,
        sink: &mut dyn Sink,
    ) -> FxHashSet<SocketCookie> {
        let Pass { before, found, doubtful, covered } = pass;
        let is_covered = |key: &ConnectionKey, role: Role| {
            let side = self.connections.get(key).and_then(|connection| connection.side(role));
            let Some((side, covered)) = side.zip(*covered) else { return true };
            covered.contains(&side.netns)
        };
        let is_missing = |socket: &SocketCookie, key: &ConnectionKey, role: Role| {
            let age = now.since(key.opened);
            let was_found = before.contains(socket) || doubtful.contains(socket);
            !found.contains(socket) && (was_found || age > NEVER_FOUND) && is_covered(key, role)
        };
        let missing = self.sockets.iter().filter(|(socket, (key, role))| is_missing(socket, key, *role));
        let missing: Vec<SocketCookie> = missing.map(|(socket, _)| *socket).collect();
        let mut still_doubtful = FxHashSet::default();
        for socket in missing {
            if doubtful.contains(&socket) {
                self.end(socket, now, None, CloseReason::Unknown, sink);
            } else {
                still_doubtful.insert(socket);
            }
        }
        still_doubtful
    }
}

/// Which end a socket older than the agent is, where no listener tells: programs listen below the ephemeral range
/// (`net.ipv4.ip_local_port_range` starts at 32768 by default).
fn likely_role(pair: AddressPair) -> Role {
    const EPHEMERAL: u16 = 32_768;
    if pair.local.port() < EPHEMERAL && pair.remote.port() >= EPHEMERAL { Role::Server } else { Role::Client }
}
