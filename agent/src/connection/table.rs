//! The table of connections: which socket belongs to which, and when they begin, meet and end.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustc_hash::{FxHashMap, FxHashSet};

use super::early::Early;
use super::reading::Reading;
use super::sessions::Sessions;
use super::settled::Shared;
use super::side::{HolderRole, OwnerSource, OwnerUnknown, Side};
use super::{Conclusion, Connection, ConnectionKey, Protocol, Sink, Stage};
use crate::event::{
    AddressPair, CloseReason, Closed, Decision, Established, Event, Existing, LossCause, NetworkNamespace,
    PeerAsked, Released, Role, Segment, SegmentOwner, SocketCookie, Task, Timestamp,
};
use crate::tls::{IncompleteReason, UnknownReason};

/// A connection without a verdict is reported as it stands after this time, and its holes are given up.
const DECIDE_AFTER: u64 = 10_000_000_000;
/// The other end of a local connection is established within microseconds; its first data may wait for a lost packet.
const MEET_WITHIN: u64 = 10_000_000_000;
/// A program may let go of a socket after the connection has ended (shutdown(2) first): for a socket that nobody is known
/// to hold, this is the last chance to learn who did.
const RELEASE_GRACE: u64 = 2_000_000_000;
/// After one end is closed the other one has this long to follow before the connection counts as over.
const LINGER: u64 = 60_000_000_000;

/// Bounds of the room.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Sessions remembered for resumption.
    pub sessions: usize,
    /// Bytes that the source delivers of each direction unasked.
    pub start_budget: u32,
    /// Most bytes that are ever asked for of one direction.
    pub max_budget: u32,
}

/// How full the tables are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableSizes {
    /// Connections now.
    pub connections: usize,
    /// Still looked at.
    pub undecided: usize,
    /// New connections refused because the table was full.
    pub refused: u64,
    /// Sessions now.
    pub sessions: usize,
    /// Sessions forgotten for room.
    pub sessions_evicted: u64,
    /// Connects and early segments that wait now.
    pub early: usize,
    /// Those dropped for room or age.
    pub early_evicted: u64,
    /// Holders of multipath sockets that could not be joined to a connection.
    pub multipath_ambiguous: u64,
}

/// All connections of the host.
#[derive(Debug)]
pub struct Connections {
    pub(super) limits: Limits,
    serial: u64,
    pub(super) connections: FxHashMap<ConnectionKey, Box<Connection>>,
    sockets: FxHashMap<SocketCookie, (ConnectionKey, Role)>,
    /// Connections of which one end is known, by their initial sequence numbers, while the other may still appear.
    unmet: FxHashMap<(u32, u32), ConnectionKey>,
    /// The same for connections older than the agent, by the pair that the known end has.
    unmet_existing: FxHashMap<AddressPair, ConnectionKey>,
    /// Young passive sockets, for multipath ones whose accept shows another socket.
    accepting: FxHashMap<(NetworkNamespace, AddressPair), ConnectionKey>,
    listeners: FxHashMap<(NetworkNamespace, SocketAddr), Task>,
    pub(super) sessions: Sessions,
    pub(super) shared: Shared,
    early: Early,
    /// When to look again at young connections, oldest first.
    young: VecDeque<(Timestamp, ConnectionKey)>,
    lingering: VecDeque<(Timestamp, ConnectionKey)>,
    /// Ended, but a socket of it has no known holder yet.
    unowned: VecDeque<(Timestamp, ConnectionKey)>,
    last_loss: Option<Timestamp>,
    refused: u64,
    multipath_ambiguous: u64,
}

impl Connections {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Connections {
            limits,
            serial: 0,
            connections: FxHashMap::default(),
            sockets: FxHashMap::default(),
            unmet: FxHashMap::default(),
            unmet_existing: FxHashMap::default(),
            accepting: FxHashMap::default(),
            listeners: FxHashMap::default(),
            sessions: Sessions::new(limits.sessions),
            shared: Shared::default(),
            early: Early::default(),
            young: VecDeque::new(),
            lingering: VecDeque::new(),
            unowned: VecDeque::new(),
            last_loss: None,
            refused: 0,
            multipath_ambiguous: 0,
        }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: &Event, sink: &mut dyn Sink) {
        match event {
            Event::Connect(connect) => self.early.connect(*connect),
            Event::Established(event) => self.establish(event, sink),
            Event::Segment(event) => self.segment(event, sink),
            Event::PeerAsked(event) => self.peer_asked(event, sink),
            Event::Released(event) => self.released(event, sink),
            Event::Closed(event) => self.close(event, sink),
            Event::Existing(event) => self.existing(event, sink),
            Event::Subflow { socket, .. } => self.subflow(*socket, sink),
            Event::Lost { at, cause, .. } => {
                if *cause != LossCause::AgentDown {
                    self.last_loss = Some(*at);
                }
            }
            Event::ProcessForked { .. } | Event::ProcessExecuted { .. } | Event::ProcessExited { .. } => {}
        }
    }

    /// Takes the owners of listening sockets, by their local address.
    pub fn set_listeners(
        &mut self,
        listeners: impl IntoIterator<Item = (NetworkNamespace, SocketAddr, Task)>,
    ) {
        self.listeners.clear();
        for (netns, address, task) in listeners {
            let oldest = self.listeners.entry((netns, address)).or_insert(task);
            // Prefork servers share the socket: the process that opened it came first.
            if task.process.start_time < oldest.process.start_time {
                *oldest = task;
            }
        }
    }

    /// How full the tables are.
    pub fn sizes(&self) -> TableSizes {
        TableSizes {
            connections: self.connections.len(),
            undecided: self.young.len(),
            refused: self.refused,
            sessions: self.sessions.len(),
            sessions_evicted: self.sessions.evicted(),
            early: self.early.len(),
            early_evicted: self.early.evicted(),
            multipath_ambiguous: self.multipath_ambiguous,
        }
    }

    /// Most connections at a time.
    pub fn bound(&self) -> usize {
        self.limits.connections
    }

    /// Most sessions remembered.
    pub fn session_bound(&self) -> usize {
        self.limits.sessions
    }

    /// Shows every connection that has been reported.
    pub fn each(&self, mut see: impl FnMut(&Connection)) {
        for connection in self.connections.values() {
            see(connection);
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

    fn create(&mut self, at: Timestamp, sequences: Option<(u32, u32)>) -> Option<ConnectionKey> {
        if self.connections.len() >= self.limits.connections {
            self.refused += 1;
            return None;
        }
        self.serial += 1;
        let key = ConnectionKey { opened: at, serial: self.serial };
        let conclusion = match sequences {
            Some(_) => Conclusion::silent(),
            None => Conclusion::unknown(Protocol::Unknown, UnknownReason::MidStream),
        };
        let connection = Connection {
            key,
            decided: None,
            closed: None,
            close_reason: None,
            sequences,
            client: None,
            server: None,
            interface: 0,
            conclusion,
            session_id: None,
            settled: None,
            inherited_from: None,
            examined: (0, 0),
            incomplete: sequences.is_none().then_some(IncompleteReason::MidStream),
            bytes: None,
            shipped: 0,
            handshake_shipped: 0,
            reading: None,
            subflow: false,
        };
        self.connections.insert(key, Box::new(connection));
        Some(key)
    }

    fn establish(&mut self, event: &Established, sink: &mut dyn Sink) {
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

    fn segment(&mut self, segment: &Segment, sink: &mut dyn Sink) {
        match segment.owner {
            SegmentOwner::Socket(socket) => {
                if let Some(&(key, role)) = self.sockets.get(&socket) {
                    self.feed(key, role, segment, sink);
                }
            }
            SegmentOwner::Listener { pair, netns } => self.early.segment(pair, netns, segment.clone()),
        }
    }

    fn feed(&mut self, key: ConnectionKey, role: Role, segment: &Segment, sink: &mut dyn Sink) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.interface == 0 {
            connection.interface = segment.interface;
        }
        connection.shipped += segment.bytes.len() as u64;
        if connection.decided.is_some() || connection.subflow {
            return;
        }
        let Some((client, server)) = connection.sequences else { return };
        let budget = self.limits.start_budget;
        let reading =
            connection.reading.get_or_insert_with(|| Box::new(Reading::from_start(client, server, budget)));
        reading.take(role, segment);
        self.consider(key, segment.at, sink);
    }

    fn peer_asked(&mut self, event: &PeerAsked, sink: &mut dyn Sink) {
        let found = match self.sockets.get(&event.socket) {
            Some(found) => Some(*found),
            None if event.multipath => self.multipath(event.netns, event.pair),
            None => None,
        };
        let Some((key, role)) = found else { return };
        let Some(side) =
            self.connections.get_mut(&key).and_then(|connection| connection.side_mut(role).as_mut())
        else {
            return;
        };
        let accepted = side.holders.iter().any(|holder| holder.role == HolderRole::Accept);
        let holder = if role == Role::Server && !accepted { HolderRole::Accept } else { HolderRole::Use };
        if side.hold(event.task, holder, OwnerSource::GetPeerName) {
            self.republish(key, sink);
        }
    }

    fn released(&mut self, event: &Released, sink: &mut dyn Sink) {
        let found = match self.sockets.get(&event.socket) {
            Some(found) => Some(*found),
            None if event.multipath => self.multipath(event.netns, event.pair),
            None => None,
        };
        let Some((key, role)) = found else { return };
        let Some(side) =
            self.connections.get_mut(&key).and_then(|connection| connection.side_mut(role).as_mut())
        else {
            return;
        };
        let news = side.hold(event.task, HolderRole::LastHolder, OwnerSource::Release);
        let over = self.connections.get(&key).is_some_and(|connection| connection.is_over());
        if over {
            self.finish(key, sink);
        } else if news {
            self.republish(key, sink);
        }
    }

    /// The connection whose passive subflow has these addresses.
    fn multipath(&mut self, netns: NetworkNamespace, pair: AddressPair) -> Option<(ConnectionKey, Role)> {
        match self.accepting.get(&(netns, pair)) {
            Some(key) => Some((*key, Role::Server)),
            None => {
                self.multipath_ambiguous += 1;
                None
            }
        }
    }

    fn subflow(&mut self, socket: SocketCookie, sink: &mut dyn Sink) {
        let Some(&(key, _)) = self.sockets.get(&socket) else { return };
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.subflow = true;
        connection.reading = None;
        sink.decide(socket, Decision::Stop);
    }

    fn existing(&mut self, event: &Existing, sink: &mut dyn Sink) {
        if let Some(&(key, role)) = self.sockets.get(&event.socket) {
            let side =
                self.connections.get_mut(&key).and_then(|connection| connection.side_mut(role).as_mut());
            if let (Some(side), Some(task)) = (side, event.owner)
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

    fn close(&mut self, event: &Closed, sink: &mut dyn Sink) {
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

    /// Looks after everything that time changes. To be called about once a second.
    pub fn tick(&mut self, now: Timestamp, sink: &mut dyn Sink) {
        self.early.sweep(now);
        while let Some(&(since, key)) = self.young.front()
            && now.since(since) >= DECIDE_AFTER.max(MEET_WITHIN)
        {
            self.young.pop_front();
            self.grown(key, now, sink);
        }
        while let Some(&(since, key)) = self.unowned.front()
            && now.since(since) >= RELEASE_GRACE
        {
            self.unowned.pop_front();
            self.finish(key, sink);
        }
        self.shrink();
        while let Some(&(since, key)) = self.lingering.front()
            && now.since(since) >= LINGER
        {
            self.lingering.pop_front();
            self.finish(key, sink);
        }
    }

    /// Gives back the room that a burst of new connections took in the tables of those that may still meet.
    fn shrink(&mut self) {
        const SPARE: usize = 4096;
        let (unmet, accepting, young) = (self.unmet.len(), self.accepting.len(), self.young.len());
        if self.unmet.capacity() > 4 * unmet + SPARE {
            self.unmet.shrink_to(2 * unmet);
        }
        if self.accepting.capacity() > 4 * accepting + SPARE {
            self.accepting.shrink_to(2 * accepting);
        }
        if self.young.capacity() > 4 * young + SPARE {
            self.young.shrink_to(2 * young);
        }
    }

    /// A connection is no longer young: it has met its other end or never will, and its holes stay.
    fn grown(&mut self, key: ConnectionKey, now: Timestamp, sink: &mut dyn Sink) {
        self.forget_meeting(key);
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.decided.is_some() {
            return;
        }
        if let Some(reading) = connection.reading.as_mut() {
            reading.give_up_holes(IncompleteReason::Lost);
            self.consider(key, now, sink);
        }
        self.report_undecided(key, sink);
    }

    /// Nobody else will join this connection by its numbers or addresses.
    pub(super) fn forget_meeting(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get(&key) else { return };
        if let Some(sequences) = connection.sequences
            && self.unmet.get(&sequences) == Some(&key)
        {
            self.unmet.remove(&sequences);
        }
        for side in connection.client.iter().chain(&connection.server) {
            if self.unmet_existing.get(&side.pair) == Some(&key) {
                self.unmet_existing.remove(&side.pair);
            }
            if self.accepting.get(&(side.netns, side.pair)) == Some(&key) {
                self.accepting.remove(&(side.netns, side.pair));
            }
        }
    }

    pub(super) fn forget_sockets(&mut self, connection: &Connection, sink: &mut dyn Sink) {
        for socket in connection.sockets() {
            self.sockets.remove(&socket);
            sink.forget(socket);
        }
    }

    /// The owner of the socket that listens where this side was accepted.
    pub(super) fn listener_of(&self, side: &Side) -> Option<Task> {
        let local = side.pair.local;
        let any: IpAddr =
            if local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // An IPv6 socket that listens everywhere accepts IPv4 too, unless it is told not to.
        [local.ip(), any, Ipv6Addr::UNSPECIFIED.into()]
            .into_iter()
            .find_map(|address| self.listeners.get(&(side.netns, SocketAddr::new(address, local.port()))))
            .copied()
    }

    /// Whether the source lost events while this connection lived.
    pub(super) fn lost_since(&self, opened: Timestamp) -> bool {
        self.last_loss.is_some_and(|at| at >= opened)
    }
}

/// Which end a socket older than the agent is, where no listener tells: programs listen below the ephemeral range
/// (`net.ipv4.ip_local_port_range` starts at 32768 by default).
fn likely_role(pair: AddressPair) -> Role {
    const EPHEMERAL: u16 = 32_768;
    if pair.local.port() < EPHEMERAL && pair.remote.port() >= EPHEMERAL { Role::Server } else { Role::Client }
}
