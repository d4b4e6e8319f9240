//! How connections begin, how their two ends meet, and how they end.

use rustc_hash::FxHashSet;

use super::side::{HolderRole, OwnerSource, OwnerUnknown, Side};
use super::table::MEET_WITHIN;
use super::{Connections, Sink, Stage};
use crate::event::{
    AddressPair, CloseReason, Closed, Decision, Established, Existing, Role, SocketCookie, Timestamp,
};

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
        let waiting = self.unmet.get(&sequences).copied();
        let met = waiting.filter(|key| {
            self.connections.get(key).is_some_and(|connection| connection.side(event.role).is_none())
        });
        let key = match met {
            Some(key) => {
                self.unmet.remove(&sequences);
                key
            }
            None => {
                let Some(key) = self.create(event.at, Some(sequences)) else {
                    sink.decide(event.socket, Decision::Stop);
                    return;
                };
                self.unmet.insert(sequences, key);
                self.young.push_back((event.at, key));
                key
            }
        };
        self.sockets.insert(event.socket, (key, event.role));
        let Some(connection) = self.connections.get_mut(&key) else { return };
        *connection.side_mut(event.role) = Some(Box::new(side));
        let decided = connection.decided.is_some();
        if event.role == Role::Server {
            self.accepting.insert((event.netns, event.pair), key);
            for segment in self.early.take_segments(event.pair, event.netns) {
                self.feed(key, Role::Server, &segment, sink);
            }
        }
        if decided {
            sink.decide(event.socket, Decision::Stop);
            self.publish(key, Stage::Open, sink);
        }
    }

    pub(super) fn subflow(&mut self, socket: SocketCookie, sink: &mut dyn Sink) {
        let Some(&(key, _)) = self.sockets.get(&socket) else { return };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.subflow = true;
        connection.reading = None;
        sink.decide(socket, Decision::Stop);
    }

    pub(super) fn existing(&mut self, event: &Existing, sink: &mut dyn Sink) {
        if let Some(&(key, role)) = self.sockets.get(&event.socket) {
            if let (Some(side), Some(task)) = (self.side_mut(key, role), event.owner)
                && side.hold(task, HolderRole::Use, OwnerSource::Iterator)
            {
                self.republish(key, sink);
            }
            return;
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
                let Some(key) = self.create(event.at, None) else { return };
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
        self.sockets.insert(event.socket, (key, role));
        if let Some(connection) = self.connections.get_mut(&key) {
            *connection.side_mut(role) = Some(Box::new(side));
            connection.decided = Some(event.at);
        }
        self.republish(key, sink);
    }

    pub(super) fn close(&mut self, event: &Closed, sink: &mut dyn Sink) {
        let Some(&(key, role)) = self.sockets.get(&event.socket) else {
            self.early.take_connect(event.socket);
            return;
        };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if let Some(side) = connection.side_mut(role) {
            side.close(event);
        }
        connection.closed = Some(event.at);
        // The end that was closed first says how: the other one only answers.
        connection.close_reason.get_or_insert(event.reason);
        match (connection.is_over(), connection.is_owned()) {
            (true, true) => self.finish(key, sink),
            (true, false) => self.unowned.push_back((event.at, key)),
            (false, _) => self.lingering.push_back((event.at, key)),
        }
    }

    /// Ends connections of which the end was lost: sockets that two passes over all open files did not find.
    /// Returns the sockets that are missing for the first time. A socket may be open without a file for a while
    /// (not yet accepted, or closed and waiting for its peer), so one pass proves nothing.
    pub fn reconcile(
        &mut self,
        found: &FxHashSet<SocketCookie>,
        doubtful: &FxHashSet<SocketCookie>,
        now: Timestamp,
        sink: &mut dyn Sink,
    ) -> FxHashSet<SocketCookie> {
        let missing: Vec<SocketCookie> = self
            .sockets
            .iter()
            .filter(|(socket, (key, _))| !found.contains(socket) && now.since(key.opened) > MEET_WITHIN)
            .map(|(socket, _)| *socket)
            .collect();
        let mut still_doubtful = FxHashSet::default();
        for socket in missing {
            if doubtful.contains(&socket) {
                let reason = CloseReason::Unknown;
                self.close(&Closed { at: now, socket, sent: 0, received: 0, reason }, sink);
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
