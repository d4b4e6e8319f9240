//! Handshakes of made-up sizes on one host, and what its libraries show of them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::{Conclusion, Connection, Connections, Fingerprint, Limits, Sink, Stage};
use super::samples::{certificate, list_of, task};
use super::witness::Spoke;
use super::*;
use crate::certificate::fingerprint;
use crate::event::*;
use crate::record::{Authentication, ConfidenceName, EvidenceName};
use crate::tls::{HandshakeState, TlsFacts, UnknownReason};

mod correlation;
mod fusion;
mod verification;

const SECOND: u64 = 1_000_000_000;
/// Who serves, and who connects.
const SERVER: u32 = 200;
const CLIENT: u32 = 100;
const NETNS: NetworkNamespace = NetworkNamespace(5);
/// What TLS_AES_256_GCM_SHA384 adds to a record, and its Finished.
const OVERHEAD: usize = 17;
const FINISHED: usize = 52;
/// A CertificateVerify with ECDSA and P-256.
const VERIFY: usize = 8 + 70;

/// A connection as it was last handed out.
#[derive(Debug, Clone)]
struct Last {
    conclusion: Conclusion,
    client: Vec<Fingerprint>,
    server: Vec<Fingerprint>,
    verification: [Option<VerificationName>; 2],
    disagreement: Option<DisagreementName>,
    revisions: usize,
    /// Of the server's socket.
    holders: Vec<(u32, OwnerSource)>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By the client's port.
    last: BTreeMap<u16, Last>,
    certificates: Vec<(Fingerprint, Role)>,
}

impl Sink for Seen {
    fn decide(&mut self, _socket: SocketCookie, _decision: Decision) {}
    fn forget(&mut self, _socket: SocketCookie) {}
    fn certificate(&mut self, _der: &Bytes, fingerprint: Fingerprint, role: Role) {
        self.certificates.push((fingerprint, role));
    }
    fn connection(&mut self, connection: &Connection, _stage: Stage) {
        let client = connection.side(Role::Client).map(|side| side.pair.local);
        let port = client.or(connection.side(Role::Server).map(|side| side.pair.remote)).unwrap().port();
        let revisions = self.last.get(&port).map_or(0, |last| last.revisions) + 1;
        let holders = connection.side(Role::Server).map_or(&[][..], |side| &side.holders);
        let last = Last {
            holders: holders.iter().map(|holder| (holder.task.process.pid, holder.source)).collect(),
            conclusion: connection.conclusion,
            client: connection.chain(Role::Client).to_vec(),
            server: connection.chain(Role::Server).to_vec(),
            verification: [Role::Client, Role::Server].map(|role| connection.verification(role)),
            disagreement: connection.disagreement(),
            revisions,
        };
        self.last.insert(port, last);
    }
    fn owner_wanted(&mut self, _socket: SocketCookie) {}
}

/// What a client does when it is asked.
#[derive(Debug, Clone, Copy)]
enum Answer {
    NotAsked,
    None,
    /// A Certificate message of so many bytes.
    Certificate(usize),
    /// Everything in records of this size.
    Padded(usize),
}

/// A host, and the connections numbered on it.
struct Host {
    table: Connections,
    seen: Seen,
    /// Payload bytes so far: client's, server's.
    sent: BTreeMap<u16, [u32; 2]>,
    sides: BTreeMap<u16, Vec<Role>>,
}

fn cookie(number: u16, role: Role) -> SocketCookie {
    SocketCookie(u64::from(number) + if role == Role::Client { 100_000 } else { 0 })
}

fn first(number: u16) -> [u32; 2] {
    [1000 + (u32::from(number) << 16), 7000 + (u32::from(number) << 16)]
}

fn pair(number: u16, role: Role) -> AddressPair {
    let local = ([10, 0, 0, 1], number).into();
    let pair = AddressPair { local, remote: ([10, 0, 0, 2], 443).into() };
    if role == Role::Client { pair } else { pair.mirrored() }
}

fn record(length: usize) -> Vec<u8> {
    let mut record = vec![23, 3, 3, (length >> 8) as u8, length as u8];
    record.resize(5 + length, 0xee);
    record
}

/// Messages, each in a record of its own, or in as many as it takes.
fn records(messages: &[usize]) -> Vec<u8> {
    const FULL: usize = 1 << 14;
    let fragments = messages.iter().flat_map(|&message| {
        let rest = message % FULL;
        std::iter::repeat_n(FULL, message / FULL).chain((rest > 0).then_some(rest))
    });
    fragments.flat_map(|fragment| record(fragment + OVERHEAD)).collect()
}

fn prints(chain: &[Bytes]) -> Vec<Fingerprint> {
    chain.iter().map(|der| Fingerprint(fingerprint(der))).collect()
}

/// The Certificate message of a chain in TLS 1.3.
fn message(chain: &[Bytes]) -> usize {
    8 + list_of(chain, true).len()
}

fn segments(fixture: &str) -> Vec<(bool, Vec<u8>)> {
    let lines = fixture.lines().filter(|line| !line.starts_with('#'));
    let segment = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let digits: Vec<u8> = words[2].chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        (words[0] == "C", digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    };
    lines.map(segment).collect()
}

impl Host {
    fn new() -> Self {
        let limits = Limits {
            connections: 4096,
            sessions: 8,
            start_budget: 32 << 10,
            max_budget: 128 << 10,
            held: 64 << 20,
        };
        Host {
            table: Connections::new(limits),
            seen: Seen::default(),
            sent: BTreeMap::new(),
            sides: BTreeMap::new(),
        }
    }

    fn handle(&mut self, event: &Event) {
        self.table.handle(event.clone(), &mut self.seen);
    }

    fn open(&mut self, number: u16, roles: &[Role]) {
        for &role in roles {
            let (at, socket, pair) = (Timestamp(2), cookie(number, role), pair(number, role));
            if role == Role::Client {
                let dialled = pair.remote;
                let task = task(CLIENT, 1);
                self.handle(&Event::Connect(Connect { at, socket, task, dialled, netns: NETNS }));
            }
            let [client, server] = first(number);
            let (first_sent, first_received) =
                if role == Role::Client { (client, server) } else { (server, client) };
            let (netns, beginning) = (NETNS, Beginning::Seen);
            self.handle(&Event::Established(Established {
                at,
                socket,
                role,
                pair,
                netns,
                first_sent,
                first_received,
                beginning,
            }));
        }
        self.sides.insert(number, roles.to_vec());
        self.sent.insert(number, [0; 2]);
    }

    fn accept(&mut self, number: u16, pid: u32) {
        let (socket, pair) = (cookie(number, Role::Server), pair(number, Role::Server));
        let (at, task) = (Timestamp(3), task(pid, 1));
        self.handle(&Event::PeerAsked(PeerAsked { at, socket, task, pair, netns: NETNS, multipath: false }));
    }

    fn say(&mut self, number: u16, by_client: bool, bytes: &[u8]) {
        let side = usize::from(!by_client);
        let sent = self.sent[&number];
        let numbers = first(number);
        let place = [numbers[0] + sent[0], numbers[1] + sent[1]];
        let role = self.sides[&number][0];
        let travel = if by_client == (role == Role::Client) { Travel::Sent } else { Travel::Received };
        self.handle(&Event::Segment(Segment {
            at: Timestamp(5),
            owner: SegmentOwner::Socket(cookie(number, role)),
            travel,
            sequence: place[side],
            acknowledged: place[1 - side],
            withheld: 0,
            withheld_for: Withheld::Budget,
            interface: 3,
            bytes: Bytes::copy_from_slice(bytes),
        }));
        self.sent.get_mut(&number).unwrap()[side] += bytes.len() as u32;
    }

    fn hello(&mut self, number: u16) {
        let fixture = segments(include_str!("../../tls/fixtures/13_mutual.hex"));
        self.say(number, true, &fixture[0].1);
    }

    /// ServerHello to Finished, with a Certificate message of so many bytes.
    fn serve(&mut self, number: u16, certificate: usize, asks: bool) {
        const SERVER_HELLO: usize = 5 + 0x7a;
        let fixture = segments(include_str!("../../tls/fixtures/13_mutual.hex"));
        let mut flight = fixture[1].1[..SERVER_HELLO].to_vec();
        flight.extend([20, 3, 3, 0, 1, 1]);
        flight.extend(records(&[10]));
        if asks {
            flight.extend(records(&[60]));
        }
        flight.extend(records(&[certificate, VERIFY, FINISHED]));
        self.say(number, false, &flight);
    }

    fn answer(&mut self, number: u16, answer: Answer) {
        let mut flight = vec![20, 3, 3, 0, 1, 1];
        match answer {
            Answer::NotAsked => flight.extend(records(&[FINISHED])),
            Answer::None => flight.extend(records(&[8, FINISHED])),
            Answer::Certificate(certificate) => flight.extend(records(&[certificate, VERIFY, FINISHED])),
            Answer::Padded(length) => (0..3).for_each(|_| flight.extend(record(length))),
        }
        self.say(number, true, &flight);
    }

    /// The server says so many bytes after the handshake.
    fn go_on(&mut self, number: u16) {
        self.say(number, false, &record(250));
    }

    /// A handshake in which the client shows a chain, up to where the server has it.
    fn shake(&mut self, number: u16, server: usize, answer: Answer) {
        self.hello(number);
        self.serve(number, server, !matches!(answer, Answer::NotAsked));
        self.answer(number, answer);
    }

    /// Ends a connection, on which client and server said so much beyond what was seen. Returns the last record.
    fn end(&mut self, number: u16, beyond: [u64; 2]) -> Last {
        let sent = self.sent[&number];
        let bytes = [u64::from(sent[0]) + beyond[0], u64::from(sent[1]) + beyond[1]];
        for role in self.sides[&number].clone() {
            let (sent, received) =
                if role == Role::Client { (bytes[0], bytes[1]) } else { (bytes[1], bytes[0]) };
            let (at, reason) = (Timestamp(8), CloseReason::Fin);
            self.handle(&Event::Closed(Closed { at, socket: cookie(number, role), sent, received, reason }));
        }
        self.table.tick(Timestamp(3 * SECOND), &mut self.seen);
        self.last(number)
    }

    fn last(&self, number: u16) -> Last {
        self.seen.last[&number].clone()
    }

    fn count(&self, outcome: LibraryOutcome) -> u64 {
        Library::ALL.into_iter().map(|library| self.table.library_counts().of(library, outcome)).sum()
    }

    /// One number per outcome, in the order of [`LibraryOutcome::ALL`].
    fn counts(&self) -> [u64; 6] {
        LibraryOutcome::ALL.map(|outcome| self.count(outcome))
    }
}

/// Something that a library of a process shows.
#[derive(Debug, Clone, Copy)]
struct Show {
    library: Library,
    pid: u32,
    thread: u32,
    socket: Option<LibrarySocket>,
    presenter: Presenter,
}

fn on(number: u16, role: Role, by: SocketBy) -> Option<LibrarySocket> {
    Some(LibrarySocket { socket: cookie(number, role), by, received_at: Timestamp(4) })
}

/// OpenSSL in the server shows what its peer sent on this connection.
fn server_reads(number: u16, by: SocketBy) -> Show {
    let (library, presenter) = (Library::OpenSsl, Presenter::Peer);
    Show { library, pid: SERVER, thread: 1, socket: on(number, Role::Server, by), presenter }
}

fn client_reads(number: u16, by: SocketBy) -> Show {
    let (library, presenter) = (Library::Go, Presenter::Peer);
    Show { library, pid: CLIENT, thread: 1, socket: on(number, Role::Client, by), presenter }
}

impl Show {
    fn call(self) -> LibraryCall {
        let task = task(self.pid, self.thread);
        LibraryCall { at: Timestamp(6), task, library: self.library, socket: self.socket }
    }

    fn bytes(self, form: LibraryForm, bytes: &[u8]) -> Event {
        Event::LibraryBytes(Box::new(LibraryBytes {
            call: self.call(),
            presenter: self.presenter,
            form,
            total: bytes.len() as u32,
            offset: 0,
            bytes: Bytes::copy_from_slice(bytes),
        }))
    }

    fn list(self, chain: &[Bytes]) -> Event {
        self.bytes(LibraryForm::List, &list_of(chain, true))
    }

    fn says(self, verdict: LibraryVerdict) -> Event {
        Event::LibraryVerification(Box::new(LibraryVerification { call: self.call(), verdict }))
    }
}

#[test]
fn any_bytes_are_taken_without_harm() {
    let mut seed = 7_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    for _ in 0..2000 {
        let data: Vec<u8> = (0..300).map(|_| next()).collect();
        fuzz::fuzz(&data);
    }
    for modern in [false, true] {
        let list = list_of(&[certificate(1, 300), certificate(2, 200)], modern);
        for flipped in 0..list.len() {
            let mut list = list.clone();
            list[flipped] ^= next();
            let count = (list.len() as u8).div_ceil(32);
            let head = [0, (list.len() >> 8) as u8, list.len() as u8, 0, count];
            fuzz::fuzz(&[&head[..], &list].concat());
        }
    }
}
