//! The table of connections: which socket belongs to which.

use std::collections::VecDeque;
use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::early::Early;
use super::fingerprints::Fingerprints;
use super::held::Held;
use super::library::Libraries;
use super::reading::{Reading, sender};
use super::remaining::serial;
use super::sessions::Sessions;
use super::settled::Shared;
use super::spare::Spare;
use super::{Conclusion, Connection, ConnectionKey, Protocol, Sink};
use crate::event::{
    AddressPair, Event, LossCause, NetworkNamespace, Role, Segment, SegmentOwner, SocketCookie, Task,
    Timestamp,
};
use crate::tls::{Direction, IncompleteReason, UnknownReason};

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
    /// Bytes that connections hold together while they are looked at; beyond it those begun longest ago are concluded from as
    /// they stand.
    pub held: usize,
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
    /// Bytes that those that are looked at hold together.
    pub held: usize,
    /// Those that were concluded from before their time, because all together held too much.
    pub readings_cut: u64,
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
    /// Events come from a capture, not from a host: nobody will be found to hold a socket.
    pub(super) of_capture: bool,
    pub(super) serial: u64,
    pub(super) connections: FxHashMap<ConnectionKey, Box<Connection>>,
    pub(super) sockets: FxHashMap<SocketCookie, (ConnectionKey, Role)>,
    /// Connections of which one end is known, by their initial sequence numbers, while the other may still appear.
    pub(super) unmet: FxHashMap<(u32, u32), ConnectionKey>,
    /// The same by the client's number alone, which SYN proxies leave as it is; the newest that has it.
    pub(super) unmet_clients: FxHashMap<u32, ConnectionKey>,
    /// The same for connections older than the agent, by the pair that the known end has.
    pub(super) unmet_existing: FxHashMap<AddressPair, ConnectionKey>,
    /// Young passive sockets, for multipath ones whose accept shows another socket.
    pub(super) accepting: FxHashMap<(NetworkNamespace, AddressPair), ConnectionKey>,
    pub(super) listeners: FxHashMap<(NetworkNamespace, SocketAddr), Task>,
    pub(super) sessions: Sessions,
    pub(super) shared: Shared,
    pub(super) fingerprints: Fingerprints,
    pub(super) spare: Spare,
    pub(super) held: Held,
    pub(super) early: Early,
    pub(super) library: Libraries,
    /// When to look again at young connections, oldest first.
    pub(super) young: VecDeque<(Timestamp, ConnectionKey)>,
    pub(super) lingering: VecDeque<(Timestamp, ConnectionKey)>,
    /// Ended, but a socket of it has no known holder yet.
    pub(super) unowned: VecDeque<(Timestamp, ConnectionKey)>,
    pub(super) last_loss: Option<Timestamp>,
    pub(super) refused: u64,
    pub(super) multipath_ambiguous: u64,
}

impl Connections {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        Connections {
            limits,
            of_capture: false,
            serial: 0,
            connections: FxHashMap::default(),
            sockets: FxHashMap::default(),
            unmet: FxHashMap::default(),
            unmet_clients: FxHashMap::default(),
            unmet_existing: FxHashMap::default(),
            accepting: FxHashMap::default(),
            listeners: FxHashMap::default(),
            sessions: Sessions::new(limits.sessions),
            shared: Shared::default(),
            fingerprints: Fingerprints::default(),
            spare: Spare::default(),
            held: Held::new(limits.held),
            early: Early::default(),
            library: Libraries::default(),
            young: VecDeque::new(),
            lingering: VecDeque::new(),
            unowned: VecDeque::new(),
            last_loss: None,
            refused: 0,
            multipath_ambiguous: 0,
        }
    }

    /// An empty table for the connections of captures: they have the same serial number in each capture, and those that
    /// have ended wait for no owner.
    pub fn of_capture(limits: Limits) -> Self {
        Connections { of_capture: true, ..Connections::new(limits) }
    }

    /// Takes one event.
    pub fn handle(&mut self, event: Event<impl AsRef<[u8]>>, sink: &mut dyn Sink) {
        match event {
            Event::Connect(connect) => self.early.connect(connect),
            Event::Established(event) => self.establish(&event, sink),
            Event::Segment(event) => self.segment(event.as_slice(), sink),
            Event::PeerAsked(event) => self.peer_asked(&event, sink),
            Event::Released(event) => self.released(&event, sink),
            Event::Closed(event) => self.close(&event, sink),
            Event::Existing(event) => self.existing(&event, sink),
            Event::Subflow { socket, .. } => self.subflow(socket, sink),
            Event::Lost { at, cause, .. } => {
                if cause != LossCause::AgentDown {
                    self.last_loss = Some(at);
                }
            }
            Event::LibraryBytes(run) => self.library_bytes(&run, sink),
            Event::LibraryVerification(event) => self.library_verification(&event, sink),
            Event::ProcessForked { .. }
            | Event::ProcessExecuted { .. }
            | Event::ProcessExited { .. }
            | Event::LibrariesChanged { .. } => {}
        }
    }

    /// How full the tables are.
    pub fn sizes(&self) -> TableSizes {
        TableSizes {
            connections: self.connections.len(),
            undecided: self.young.len(),
            refused: self.refused,
            held: self.held.bytes(),
            readings_cut: self.held.cut(),
            sessions: self.sessions.len(),
            sessions_evicted: self.sessions.evicted(),
            early: self.early.len(),
            early_evicted: self.early.evicted(),
            multipath_ambiguous: self.multipath_ambiguous,
        }
    }

    /// Whether a socket belongs to a connection.
    pub fn knows(&self, socket: SocketCookie) -> bool {
        self.sockets.contains_key(&socket)
    }

    /// Most connections at a time.
    pub fn bound(&self) -> usize {
        self.limits.connections
    }

    /// Most connects and early segments that wait.
    pub fn early_bound(&self) -> usize {
        Early::BOUND
    }

    /// Most bytes that connections hold together while they are looked at.
    pub fn held_bound(&self) -> usize {
        self.held.bound()
    }

    /// Most sessions remembered.
    pub fn session_bound(&self) -> usize {
        self.limits.sessions
    }

    /// Every connection that has been reported, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().map(|connection| &**connection)
    }

    /// One of them, while it is open.
    pub fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        self.connections.get(&key).map(|connection| &**connection)
    }

    pub(super) fn create(
        &mut self,
        at: Timestamp,
        sequences: Option<(u32, u32)>,
        pair: AddressPair,
    ) -> Option<ConnectionKey> {
        if self.connections.len() >= self.limits.connections {
            self.refused += 1;
            return None;
        }
        self.serial = if self.of_capture { serial(pair, sequences) } else { self.serial + 1 };
        // Whoever makes captures can make two that differ in nothing.
        while self.connections.contains_key(&ConnectionKey { opened: at, serial: self.serial }) {
            self.serial = self.serial.wrapping_add(1);
        }
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
            credential: None,
            upgraded_from: None,
            incomplete: sequences.is_none().then_some(IncompleteReason::MidStream),
            bytes: None,
            shipped: 0,
            handshake_shipped: 0,
            handshake_ends: None,
            flights: None,
            captured: self.of_capture,
            library: None,
            reading: None,
            watched: None,
            held: 0,
            subflow: false,
            missed: false,
        };
        self.connections.insert(key, Box::new(connection));
        Some(key)
    }

    fn segment(&mut self, segment: Segment<&[u8]>, sink: &mut dyn Sink) {
        match segment.owner {
            SegmentOwner::Socket(socket) => {
                if let Some(&(key, role)) = self.sockets.get(&socket) {
                    self.feed(key, role, segment, sink);
                }
            }
            SegmentOwner::Listener { pair, netns } => self.early.segment(pair, netns, segment.to_owned()),
        }
    }

    pub(super) fn feed(
        &mut self,
        key: ConnectionKey,
        role: Role,
        mut segment: Segment<&[u8]>,
        sink: &mut dyn Sink,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        // A capture shows one end's numbers.
        if !self.of_capture {
            let shift = connection.side(role).map_or(0, |side| side.server_shift);
            let number_of_server = match sender(role, segment.travel) {
                Direction::Client => &mut segment.acknowledged,
                Direction::Server => &mut segment.sequence,
            };
            *number_of_server = number_of_server.wrapping_add(shift);
        }
        if connection.interface == 0 {
            connection.interface = segment.interface;
        }
        connection.shipped += segment.bytes.len() as u64;
        if connection.watched.is_some() {
            let at = segment.at;
            self.watch(key, role, segment, sink);
            return self.make_room(at, sink);
        }
        if (connection.decided.is_some() && connection.reading.is_none()) || connection.subflow {
            return;
        }
        let Some(sequences) = connection.sequences else { return };
        let budget = self.limits.start_budget;
        if connection.reading.is_none() && !self.of_capture {
            self.library.reads(key);
        }
        let (spare, held) = (&mut self.spare, &mut self.held);
        let reading = connection.reading.get_or_insert_with(|| {
            held.begin(key);
            Box::new(Reading::from_start(sequences, [spare.take(), spare.take()], budget))
        });
        let at = segment.at;
        reading.take(role, segment);
        held.change(&mut connection.held, reading.held());
        self.consider(key, at, sink);
        self.make_room(at, sink);
    }

    /// Nobody else will join this connection by its numbers or addresses.
    pub(super) fn forget_meeting(&mut self, key: ConnectionKey) {
        if self.of_capture {
            return;
        }
        self.forget_numbers(key);
        let Some(connection) = self.connections.get(&key) else { return };
        for side in connection.client.iter().chain(&connection.server) {
            if self.unmet_existing.get(&side.pair) == Some(&key) {
                self.unmet_existing.remove(&side.pair);
            }
            if self.accepting.get(&(side.netns, side.pair)) == Some(&key) {
                self.accepting.remove(&(side.netns, side.pair));
            }
        }
    }

    /// Nobody else will join this connection by its numbers.
    pub(super) fn forget_numbers(&mut self, key: ConnectionKey) {
        let Some(sequences) = self.connections.get(&key).and_then(|connection| connection.sequences) else {
            return;
        };
        if self.unmet.get(&sequences) == Some(&key) {
            self.unmet.remove(&sequences);
        }
        if self.unmet_clients.get(&sequences.0) == Some(&key) {
            self.unmet_clients.remove(&sequences.0);
        }
    }

    pub(super) fn forget_sockets(&mut self, connection: &Connection, sink: &mut dyn Sink) {
        for socket in connection.sockets() {
            if self.sockets.get(&socket).is_some_and(|(key, _)| *key == connection.key) {
                self.sockets.remove(&socket);
                sink.forget(socket);
            }
        }
    }

    /// Whether the source lost events while this connection lived.
    pub(super) fn lost_since(&self, opened: Timestamp) -> bool {
        self.last_loss.is_some_and(|at| at >= opened)
    }
}
