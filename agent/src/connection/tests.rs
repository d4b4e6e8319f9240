mod ends;
mod held;

use std::net::SocketAddr;

use bytes::Bytes;

use super::*;
use crate::cleartext::LOOK;
use crate::event::*;
use crate::record::{Authentication, Encryption, EvidenceName};
use crate::tls::UnknownReason;

const SECOND: u64 = 1_000_000_000;
const CLIENT: SocketCookie = SocketCookie(1);
const SERVER: SocketCookie = SocketCookie(2);
const CLIENT_FIRST: u32 = 1000;
const SERVER_FIRST: u32 = 9000;

type HolderSeen = (u32, HolderRole, OwnerSource);
/// How it ended, the byte counts, and how many sockets of this host it had.
type EndSeen = (Option<CloseReason>, Option<(u64, u64)>, usize);

/// What left the room, in words that tests compare.
#[derive(Debug, Default)]
struct Seen {
    decisions: Vec<(SocketCookie, Decision)>,
    connections: Vec<(Stage, Conclusion, Vec<HolderSeen>)>,
    last: Option<EndSeen>,
    wanted: Vec<SocketCookie>,
    credentials: Vec<Option<Credential>>,
    upgrades: Vec<Option<Upgrade>>,
}

impl Sink for Seen {
    fn decide(&mut self, socket: SocketCookie, decision: Decision) {
        self.decisions.push((socket, decision));
    }
    fn forget(&mut self, _socket: SocketCookie) {}
    fn certificate(&mut self, _der: &Bytes, _fingerprint: Fingerprint, _role: Role) {}
    fn connection(&mut self, connection: &Connection, stage: Stage) {
        let holders = connection.client.iter().chain(&connection.server).flat_map(|side| &side.holders);
        let holders = holders.map(|holder| (holder.task.process.pid, holder.role, holder.source)).collect();
        self.connections.push((stage, connection.conclusion, holders));
        self.credentials.push(connection.credential);
        self.upgrades.push(connection.upgraded_from);
        self.last = Some((connection.close_reason, connection.bytes, connection.sockets().count()));
    }
    fn owner_wanted(&mut self, socket: SocketCookie) {
        self.wanted.push(socket);
    }
}

impl Seen {
    fn finals(&self) -> Vec<&Conclusion> {
        self.connections
            .iter()
            .filter(|(stage, ..)| *stage == Stage::Final)
            .map(|(_, seen, _)| seen)
            .collect()
    }
}

fn table() -> Connections {
    Connections::new(Limits {
        connections: 8,
        sessions: 8,
        start_budget: 32 << 10,
        max_budget: 128 << 10,
        held: 64 << 20,
    })
}

fn task(pid: u32) -> Task {
    Task {
        process: ProcessKey { pid, start_time: 7 },
        thread: pid,
        uid: 0,
        cgroup: 1,
        comm: [0; 16],
        kernel_thread: false,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn client_pair() -> AddressPair {
    AddressPair { local: address("10.0.0.1:40000"), remote: address("10.0.0.2:80") }
}

fn established(at: u64, socket: SocketCookie, role: Role, pair: AddressPair) -> Event {
    let (first_sent, first_received) = match role {
        Role::Client => (CLIENT_FIRST, SERVER_FIRST),
        Role::Server => (SERVER_FIRST, CLIENT_FIRST),
    };
    let at = Timestamp(at);
    Event::Established(Established {
        at,
        socket,
        role,
        pair,
        netns: NetworkNamespace(5),
        first_sent,
        first_received,
        beginning: Beginning::Seen,
    })
}

/// A capture that begins in the middle of a connection.
fn missed(at: u64) -> Event {
    let Event::Established(event) = established(at, CLIENT, Role::Client, client_pair()) else {
        unreachable!()
    };
    Event::Established(Established { beginning: Beginning::Missed, ..event })
}

fn segment(socket: SocketCookie, travel: Travel, sequence: u32, acknowledged: u32, bytes: &[u8]) -> Event {
    Event::Segment(Segment {
        at: Timestamp(5),
        owner: SegmentOwner::Socket(socket),
        travel,
        sequence,
        acknowledged,
        withheld: 0,
        withheld_for: Withheld::Budget,
        interface: 3,
        bytes: Bytes::copy_from_slice(bytes),
    })
}

fn closed(at: u64, socket: SocketCookie, sent: u64, received: u64) -> Event {
    Event::Closed(Closed { at: Timestamp(at), socket, sent, received, reason: CloseReason::Fin })
}

fn asked(socket: SocketCookie, pid: u32, pair: AddressPair, multipath: bool) -> Event {
    let (at, netns) = (Timestamp(3), NetworkNamespace(5));
    Event::PeerAsked(PeerAsked { at, socket, task: task(pid), pair, netns, multipath })
}

fn released(at: u64, task: Task) -> Event {
    let (at, pair, netns) = (Timestamp(at), client_pair().mirrored(), NetworkNamespace(5));
    Event::Released(Released { at, socket: SERVER, task, pair, netns, multipath: false })
}

fn connect(pid: u32, dialled: &str) -> Event {
    let (at, netns) = (Timestamp(1), NetworkNamespace(5));
    Event::Connect(Connect { at, socket: CLIENT, task: task(pid), dialled: address(dialled), netns })
}

/// Handles events, then lets the time pass in which a holder may still show itself.
fn feed(table: &mut Connections, seen: &mut Seen, events: &[Event]) {
    for event in events {
        table.handle(event.clone(), seen);
    }
    table.tick(Timestamp(3 * SECOND), seen);
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

#[test]
fn both_ends_of_a_local_connection_are_one_connection_with_both_owners() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            connect(100, "10.0.0.2:80"),
            established(2, CLIENT, Role::Client, client_pair()),
            established(2, SERVER, Role::Server, client_pair().mirrored()),
            asked(SERVER, 200, client_pair().mirrored(), false),
            segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, REQUEST),
            segment(SERVER, Travel::Received, CLIENT_FIRST, SERVER_FIRST, REQUEST),
            closed(8, CLIENT, 18, 40),
            closed(9, SERVER, 40, 18),
        ],
    );
    let conclusions = seen.finals();
    assert_eq!(conclusions.len(), 1);
    assert_eq!(conclusions[0].protocol.as_str(), "http/1");
    assert_eq!(conclusions[0].authentication, Authentication::None);
    let (_, _, holders) = seen.connections.last().unwrap();
    assert_eq!(
        holders[..],
        [
            (100, HolderRole::Connect, OwnerSource::Connect),
            (200, HolderRole::Accept, OwnerSource::GetPeerName)
        ]
    );
    assert_eq!(seen.last, Some((Some(CloseReason::Fin), Some((18, 40)), 2)));
    // It has its name, and a credential may still follow: no more is wanted than is looked at.
    let look = Decision::Budget { sent: LOOK as u32, received: LOOK as u32 };
    assert!(seen.decisions.contains(&(CLIENT, look)));
    assert!(seen.decisions.contains(&(SERVER, look)));
}

#[test]
fn address_translation_does_not_keep_the_ends_apart() {
    let (mut table, mut seen) = (table(), Seen::default());
    let behind = AddressPair { local: address("192.168.9.9:8080"), remote: address("192.168.1.1:61000") };
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, SERVER, Role::Server, behind),
            established(2, CLIENT, Role::Client, client_pair()),
            closed(8, CLIENT, 0, 0),
            closed(9, SERVER, 0, 0),
        ],
    );
    assert_eq!(seen.finals().len(), 1);
    assert_eq!(seen.last.unwrap().2, 2);
}

#[test]
fn a_connection_without_a_byte_is_silent() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[established(2, CLIENT, Role::Client, client_pair()), closed(8, CLIENT, 0, 0)],
    );
    assert_eq!(seen.finals()[0].protocol, Protocol::Silent);
}

#[test]
fn bytes_that_no_hook_saw_are_unknown_and_not_silent() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[established(2, CLIENT, Role::Client, client_pair()), closed(8, CLIENT, 10, 0)],
    );
    assert_eq!(seen.finals()[0].authentication, Authentication::Unknown);
    assert_eq!(seen.finals()[0].reason, Some(UnknownReason::Bypassed));

    let (mut table, mut seen) = (self::table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, CLIENT, Role::Client, client_pair()),
            Event::Lost { at: Timestamp(4), cause: LossCause::RingFull, count: 1 },
            closed(8, CLIENT, 10, 0),
        ],
    );
    assert_eq!(seen.finals()[0].reason, Some(UnknownReason::Lost));
}

#[test]
fn unrecognised_bytes_are_never_called_plaintext() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, CLIENT, Role::Client, client_pair()),
            segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, b"EHLO mail.example\r\n"),
            closed(8, CLIENT, 19, 0),
        ],
    );
    let conclusion = seen.finals()[0];
    assert_eq!(conclusion.encryption, Encryption::Unknown);
    assert_eq!(conclusion.authentication, Authentication::Unknown);
    assert_eq!(conclusion.client.kind, EvidenceName::Unknown);
    assert_eq!(conclusion.reason, Some(UnknownReason::ProtocolNotRecognised));
}

#[test]
fn nothing_is_read_behind_a_hole() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, CLIENT, Role::Client, client_pair()),
            Event::Lost { at: Timestamp(4), cause: LossCause::RingFull, count: 1 },
            segment(CLIENT, Travel::Sent, CLIENT_FIRST + 500, SERVER_FIRST, REQUEST),
            closed(8, CLIENT, 518, 0),
        ],
    );
    assert_eq!(seen.finals()[0].authentication, Authentication::Unknown);
    assert_eq!(seen.finals()[0].reason, Some(UnknownReason::Lost));
}

#[test]
fn data_that_the_listening_socket_saw_belongs_to_the_accepted_one() {
    let (mut table, mut seen) = (table(), Seen::default());
    let pair = client_pair().mirrored();
    let Event::Segment(early) = segment(SERVER, Travel::Received, CLIENT_FIRST, SERVER_FIRST, REQUEST) else {
        unreachable!()
    };
    let owner = SegmentOwner::Listener { pair, netns: NetworkNamespace(5) };
    feed(
        &mut table,
        &mut seen,
        &[
            Event::Segment(Segment { owner, ..early }),
            established(6, SERVER, Role::Server, pair),
            closed(8, SERVER, 0, 18),
        ],
    );
    assert_eq!(seen.finals()[0].protocol.as_str(), "http/1");
}

#[test]
fn who_accepted_without_asking_is_known_from_the_release_or_the_listener() {
    let (mut table, mut seen) = (table(), Seen::default());
    let pair = client_pair().mirrored();
    let released = released(7, task(300));
    feed(
        &mut table,
        &mut seen,
        &[established(2, SERVER, Role::Server, pair), released, closed(8, SERVER, 0, 0)],
    );
    assert_eq!(seen.connections.last().unwrap().2[..], [(300, HolderRole::LastHolder, OwnerSource::Release)]);

    let (mut table, mut seen) = (self::table(), Seen::default());
    table.set_listeners([
        (NetworkNamespace(5), address("0.0.0.0:80"), task(400)),
        (NetworkNamespace(6), address("10.0.0.2:80"), task(500)),
    ]);
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, SERVER, Role::Server, pair),
            segment(SERVER, Travel::Received, CLIENT_FIRST, SERVER_FIRST, REQUEST),
        ],
    );
    assert_eq!(seen.connections.last().unwrap().2[..], [(400, HolderRole::Accept, OwnerSource::Listener)]);
    assert_eq!(seen.wanted, [SERVER]);

    // Whoever listened need not have held it: socket activation.
    feed(&mut table, &mut seen, &[self::released(7, task(300))]);
    assert_eq!(seen.connections.last().unwrap().2[..], [(300, HolderRole::LastHolder, OwnerSource::Release)]);
}

#[test]
fn a_release_after_the_end_still_names_who_held_it() {
    let (mut table, mut seen) = (table(), Seen::default());
    let pair = client_pair().mirrored();
    let released = released(9, task(300));
    table.handle(established(2, SERVER, Role::Server, pair), &mut seen);
    table.handle(closed(8, SERVER, 0, 0), &mut seen);
    assert!(seen.finals().is_empty());
    table.handle(released, &mut seen);
    assert_eq!(seen.finals().len(), 1);
    assert_eq!(seen.connections.last().unwrap().2[..], [(300, HolderRole::LastHolder, OwnerSource::Release)]);
}

#[test]
fn a_kernel_thread_never_owns_a_connection() {
    let (mut table, mut seen) = (table(), Seen::default());
    let pair = client_pair().mirrored();
    let task = Task { kernel_thread: true, ..task(2) };
    let released = released(7, task);
    feed(
        &mut table,
        &mut seen,
        &[established(2, SERVER, Role::Server, pair), released, closed(8, SERVER, 0, 0)],
    );
    assert!(seen.connections.last().unwrap().2.is_empty());
}

#[test]
fn a_client_that_asks_for_its_peer_is_no_acceptor_and_a_worker_is_a_user() {
    let (mut table, mut seen) = (table(), Seen::default());
    let pair = client_pair().mirrored();
    feed(
        &mut table,
        &mut seen,
        &[
            connect(100, "10.0.0.2:80"),
            established(2, CLIENT, Role::Client, client_pair()),
            asked(CLIENT, 100, client_pair(), false),
            established(2, SERVER, Role::Server, pair),
            asked(SERVER, 200, pair, false),
            asked(SERVER, 201, pair, false),
            closed(8, CLIENT, 0, 0),
            closed(8, SERVER, 0, 0),
        ],
    );
    let roles: Vec<_> =
        seen.connections.last().unwrap().2.iter().map(|holder| (holder.0, holder.1)).collect();
    assert_eq!(roles, [(100, HolderRole::Connect), (200, HolderRole::Accept), (201, HolderRole::Use)]);
}

#[test]
fn a_multipath_socket_is_joined_by_its_addresses() {
    let (mut table, mut seen) = (table(), Seen::default());
    let pair = client_pair().mirrored();
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, SERVER, Role::Server, pair),
            asked(SocketCookie(77), 200, pair, true),
            asked(SocketCookie(78), 201, client_pair(), true),
            closed(8, SERVER, 0, 0),
        ],
    );
    assert_eq!(seen.connections.last().unwrap().2[..], [(200, HolderRole::Accept, OwnerSource::GetPeerName)]);
    assert_eq!(table.sizes().multipath_ambiguous, 1);
}

#[test]
fn a_connection_older_than_the_agent_is_listed_with_both_owners_and_never_judged() {
    let (mut table, mut seen) = (table(), Seen::default());
    let existing = |socket, pair, pid, role| {
        let (at, netns) = (Timestamp(1), NetworkNamespace(5));
        Event::Existing(Existing { at, socket, pair, netns, owner: Some(task(pid)), role: Some(role) })
    };
    feed(
        &mut table,
        &mut seen,
        &[
            existing(CLIENT, client_pair(), 100, Role::Client),
            existing(SERVER, client_pair().mirrored(), 200, Role::Server),
            segment(CLIENT, Travel::Sent, 77, 88, REQUEST),
        ],
    );
    let (_, conclusion, holders) = seen.connections.last().unwrap();
    assert_eq!(conclusion.authentication, Authentication::Unknown);
    assert_eq!(conclusion.reason, Some(UnknownReason::MidStream));
    assert_eq!(holders.iter().map(|holder| holder.0).collect::<Vec<_>>(), [100, 200]);
    assert_eq!(table.sizes().connections, 1);
}

#[test]
fn a_connection_without_a_verdict_is_reported_as_it_stands_after_a_while() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(&mut table, &mut seen, &[established(2, CLIENT, Role::Client, client_pair())]);
    table.tick(Timestamp(9 * SECOND), &mut seen);
    assert!(seen.connections.is_empty());
    table.tick(Timestamp(11 * SECOND), &mut seen);
    assert_eq!(seen.connections.len(), 1);
    // It is still looked at.
    feed(&mut table, &mut seen, &[segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, REQUEST)]);
    assert_eq!(seen.connections.last().unwrap().1.protocol.as_str(), "http/1");
}

#[test]
fn a_credential_after_the_name_is_a_change_and_ends_the_looking() {
    let (mut table, mut seen) = (table(), Seen::default());
    let begin = [
        established(2, CLIENT, Role::Client, client_pair()),
        segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, b"GET / HTTP/1.1\r\n"),
    ];
    feed(&mut table, &mut seen, &begin);
    assert_eq!(seen.credentials, [None]);
    let rest = segment(CLIENT, Travel::Sent, CLIENT_FIRST + 16, SERVER_FIRST, b"X-API-Key: k\r\n\r\n");
    feed(&mut table, &mut seen, &[rest]);
    assert_eq!(seen.credentials, [None, Some(Credential::HttpApiKey)]);
    assert!(seen.decisions.contains(&(CLIENT, Decision::Stop)));
}

#[test]
fn tls_behind_a_switch_is_read_whichever_direction_is_seen_first() {
    let opening = [
        segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, b"\0\0\0\x08\x04\xd2\x16\x2f"),
        segment(CLIENT, Travel::Received, SERVER_FIRST, CLIENT_FIRST + 8, b"S"),
    ];
    // A record of TLS that says no more than that it is one.
    let hello =
        segment(CLIENT, Travel::Sent, CLIENT_FIRST + 8, SERVER_FIRST + 1, b"\x16\x03\x01\0\x04\x01\0\0\0");
    let orders = [vec![0, 1, 2], vec![0, 2, 1], vec![1, 0, 2], vec![2, 1, 0]];
    for order in orders {
        let (mut table, mut seen) = (table(), Seen::default());
        table.handle(established(2, CLIENT, Role::Client, client_pair()), &mut seen);
        let all = [&opening[0], &opening[1], &hello];
        for index in &order {
            table.handle(all[*index].clone(), &mut seen);
        }
        table.handle(closed(8, CLIENT, 17, 1), &mut seen);
        table.tick(Timestamp(100 * SECOND), &mut seen);
        let conclusions = seen.finals();
        assert_eq!(conclusions[0].protocol.as_str(), "tls", "{order:?}");
        assert_eq!(seen.upgrades.last(), Some(&Some(Upgrade::Postgresql)), "{order:?}");
    }
}

/// The conclusion of a client's and a server's bytes, of which one of the two may lack its first.
fn conclusion_of(client: &[u8], client_from: u32, server: &[u8], server_from: u32) -> Conclusion {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, CLIENT, Role::Client, client_pair()),
            segment(CLIENT, Travel::Sent, CLIENT_FIRST + client_from, SERVER_FIRST, client),
            segment(CLIENT, Travel::Received, SERVER_FIRST + server_from, CLIENT_FIRST, server),
        ],
    );
    table.tick(Timestamp(11 * SECOND), &mut seen);
    table.handle(closed(8, CLIENT, 99, 99), &mut seen);
    table.tick(Timestamp(100 * SECOND), &mut seen);
    *seen.finals()[0]
}

#[test]
fn what_may_stand_behind_a_switch_is_never_called_unprotected() {
    const HELLO: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
    const ANSWER: &[u8] = b"\x16\x03\x03\0\x5a\x02\0\0\x56\x03\x03";
    let ssl_request = b"\0\0\0\x08\x04\xd2\x16\x2f";
    let client = [&ssl_request[..], HELLO].concat();
    let smtp = [&b"EHLO c\r\nSTARTTLS\r\n"[..], HELLO].concat();
    for (what, conclusion, reason) in [
        // The server's agreement is lost.
        ("lost", conclusion_of(&client, 0, ANSWER, 1), UnknownReason::SwitchNotSeen),
        ("hole", conclusion_of(ssl_request, 0, b"rest", 1), UnknownReason::Lost),
        (
            "credential",
            conclusion_of(
                &[&b"EHLO c\r\nAUTH PLAIN AHVzZXIAcGFzcw==\r\nSTARTTLS\r\n"[..], HELLO].concat(),
                0,
                b"220 mx ESMTP\r\n250 AUTH PLAIN\r\n235 ok\r\n220 go\r\n",
                0,
            ),
            UnknownReason::SwitchNotSeen,
        ),
        (
            "one way",
            conclusion_of(&smtp, 0, b"220 mx ESMTP\r\n250 STARTTLS\r\n", 0),
            UnknownReason::SwitchNotSeen,
        ),
        ("nothing follows", conclusion_of(ssl_request, 0, b"S", 0), UnknownReason::Incomplete),
        ("GSS-API", conclusion_of(b"\0\0\0\x08\x04\xd2\x16\x30", 0, b"G", 0), UnknownReason::OtherProtocol),
        ("tunnel", conclusion_of(b"CONNECT a:443 HTTP/1.1\r\n\r\n", 0, b"", 0), UnknownReason::Incomplete),
    ] {
        assert_eq!(conclusion.authentication, Authentication::Unknown, "{what}");
        assert_eq!(conclusion.reason, Some(reason), "{what}");
    }
    let refused = conclusion_of(&[&ssl_request[..], b"\0\0\0\x0f\0\x03\0\0user\0a\0"].concat(), 0, b"N", 0);
    assert_eq!(refused.authentication, Authentication::None);
}

#[test]
fn an_idle_connection_of_http_2_is_named_and_its_first_request_still_tells_grpc() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    const REQUEST: &[u8] = b"\0\0\x15\x01\x04\0\0\0\x01\x83\x86\x0f\x10\x10application/grpc";
    let named = |conclusion: &Conclusion| conclusion.protocol.as_str();
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, CLIENT, Role::Client, client_pair()),
            segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, PREFACE),
            segment(CLIENT, Travel::Received, SERVER_FIRST, CLIENT_FIRST + 33, SETTINGS),
        ],
    );
    assert!(seen.connections.is_empty());
    table.tick(Timestamp(11 * SECOND), &mut seen);
    table.tick(Timestamp(22 * SECOND), &mut seen);
    let reported: Vec<_> = seen.connections.iter().map(|(_, conclusion, _)| named(conclusion)).collect();
    assert_eq!(reported, ["http/2"]);
    feed(
        &mut table,
        &mut seen,
        &[segment(CLIENT, Travel::Sent, CLIENT_FIRST + 33, SERVER_FIRST + 9, REQUEST)],
    );
    assert_eq!(named(&seen.connections.last().unwrap().1), "grpc");
    let ended = conclusion_of(PREFACE, 0, SETTINGS, 0);
    assert_eq!((named(&ended), ended.authentication), ("http/2", Authentication::None));
}

#[test]
fn the_table_refuses_beyond_its_bound_and_counts_it() {
    let (mut table, mut seen) = (table(), Seen::default());
    for number in 0..20u32 {
        let Event::Established(mut event) = established(2, CLIENT, Role::Client, client_pair()) else {
            unreachable!()
        };
        event.socket = SocketCookie(u64::from(number) + 100);
        event.first_sent = number;
        table.handle(Event::<Bytes>::Established(event), &mut seen);
    }
    assert_eq!(table.sizes().connections, 8);
    assert_eq!(table.sizes().refused, 12);
}

#[test]
fn an_end_that_was_lost_is_noticed_by_two_passes() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(&mut table, &mut seen, &[established(2, CLIENT, Role::Client, client_pair())]);
    let (none, found) = (Default::default(), [CLIENT].into_iter().collect());
    let nowhere = Default::default();
    let pass = Pass { before: &found, found: &none, doubtful: &none, covered: None };
    let unseen = Pass { doubtful: &found, covered: Some(&nowhere), ..pass };
    assert!(table.reconcile(&unseen, Timestamp(50 * SECOND), &mut seen).is_empty());
    let doubtful = table.reconcile(&pass, Timestamp(60 * SECOND), &mut seen);
    assert_eq!(doubtful, found);
    table.tick(Timestamp(63 * SECOND), &mut seen);
    assert!(seen.finals().is_empty());
    let pass = Pass { before: &none, doubtful: &doubtful, ..pass };
    table.reconcile(&pass, Timestamp(70 * SECOND), &mut seen);
    table.tick(Timestamp(73 * SECOND), &mut seen);
    assert_eq!(seen.finals().len(), 1);
    // Nothing is claimed of what went by unseen.
    assert_eq!(seen.finals()[0].reason, Some(UnknownReason::Lost));
    assert_eq!(seen.last.unwrap().0, Some(CloseReason::Unknown));
}

#[test]
fn one_end_that_lingers_does_not_keep_a_connection_for_ever() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, CLIENT, Role::Client, client_pair()),
            established(2, SERVER, Role::Server, client_pair().mirrored()),
            closed(3, CLIENT, 0, 0),
        ],
    );
    assert!(seen.finals().is_empty());
    table.tick(Timestamp(100 * SECOND), &mut seen);
    assert_eq!(seen.finals().len(), 1);
    assert_eq!(table.sizes().connections, 0);
}

#[test]
fn a_socket_that_connects_again_is_a_new_connection() {
    let (mut table, mut seen) = (table(), Seen::default());
    table.handle(established(2, CLIENT, Role::Client, client_pair()), &mut seen);
    let Event::Established(mut again) = established(3, CLIENT, Role::Client, client_pair()) else {
        unreachable!()
    };
    again.first_sent = 7;
    table.handle(Event::<Bytes>::Established(again), &mut seen);
    assert_eq!(seen.finals().len(), 1);
    assert!(table.knows(CLIENT));
    feed(&mut table, &mut seen, &[closed(9, CLIENT, 0, 0)]);
    assert_eq!(seen.finals().len(), 2);
}

#[test]
fn a_peer_that_says_two_things_at_once_is_not_believed() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            established(2, SERVER, Role::Server, client_pair().mirrored()),
            segment(SERVER, Travel::Received, CLIENT_FIRST, SERVER_FIRST, b"GET /a"),
            segment(SERVER, Travel::Received, CLIENT_FIRST, SERVER_FIRST, b"GET /b HTTP/1.1\r\n\r\n"),
            closed(8, SERVER, 0, 20),
        ],
    );
    assert_eq!(seen.finals()[0].reason, Some(UnknownReason::Conflicting));
    assert_eq!(seen.finals()[0].authentication, Authentication::Unknown);
}

#[test]
fn what_is_not_recognised_in_the_middle_is_never_called_plaintext_or_silent() {
    let application_data = [&[0x17, 3, 3, 1, 0][..], &[0xa5; 400]].concat();
    for bytes in [&application_data[..], b"", b"\x00", b"half a line of something"] {
        let (mut table, mut seen) = (table(), Seen::default());
        let events = [
            missed(1),
            segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, bytes),
            closed(2, CLIENT, 0, 0),
        ];
        feed(&mut table, &mut seen, &events);
        table.tick(Timestamp(100 * SECOND), &mut seen);
        let (stage, conclusion, _) = seen.connections.last().unwrap();
        assert_eq!(*stage, Stage::Final);
        assert_eq!(conclusion.reason, Some(UnknownReason::MidStream), "{bytes:?}");
        assert_eq!(conclusion.encryption, Encryption::Unknown);
    }
}

#[test]
fn a_recognised_protocol_in_the_middle_is_named() {
    let (mut table, mut seen) = (table(), Seen::default());
    feed(
        &mut table,
        &mut seen,
        &[
            missed(1),
            segment(CLIENT, Travel::Sent, CLIENT_FIRST, SERVER_FIRST, REQUEST),
            closed(2, CLIENT, 9, 9),
        ],
    );
    table.tick(Timestamp(100 * SECOND), &mut seen);
    let (_, conclusion, _) = seen.connections.last().unwrap();
    assert_eq!(conclusion.encryption, Encryption::None);
}

#[test]
fn a_capture_that_goes_back_in_time_does_not_hold_up_what_follows() {
    let (mut table, mut seen) = (table(), Seen::default());
    let other = SocketCookie(77);
    let pair = AddressPair { local: address("10.0.0.9:1"), ..client_pair() };
    feed(&mut table, &mut seen, &[established(1000 * SECOND, CLIENT, Role::Client, client_pair())]);
    feed(&mut table, &mut seen, &[closed(1000 * SECOND, CLIENT, 0, 0)]);
    feed(
        &mut table,
        &mut seen,
        &[established(SECOND, other, Role::Client, pair), closed(SECOND, other, 0, 0)],
    );
    table.tick(Timestamp(9 * SECOND), &mut seen);
    assert_eq!(table.sizes().connections, 0);
}

/// TLS 1.2 without client authentication, then another handshake inside it, as `cut` distributes that over segments.
fn renegotiating(cut: usize, before: u8) -> Vec<Event> {
    let mut events = vec![established(2, CLIENT, Role::Client, client_pair())];
    let mut sent = [0_u32; 2];
    let mut say = |by_client: bool, bytes: &[u8]| {
        let own = usize::from(!by_client);
        let place = [CLIENT_FIRST + sent[0], SERVER_FIRST + sent[1]];
        let travel = if by_client { Travel::Sent } else { Travel::Received };
        events.push(segment(CLIENT, travel, place[own], place[1 - own], bytes));
        sent[own] += u32::try_from(bytes.len()).unwrap();
    };
    let text = include_str!("../tls/fixtures/12_server_only.hex");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let digits: Vec<u8> =
            words[2].chars().map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap()).collect();
        let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        say(words[0] == "C", &bytes);
    }
    let data = [&[before, 3, 3, 0, 30][..], &[0xee; 30]].concat();
    let hello = [&[22, 3, 3, 0, 80][..], &[0xee; 80]].concat();
    for piece in [data, hello].concat().chunks(cut) {
        say(true, piece);
    }
    events.push(closed(8, CLIENT, 1, 1));
    events
}

#[test]
fn a_renegotiation_in_a_capture_takes_the_verdict_back_whenever_it_comes() {
    for cut in [1, 5, 34, 35, 36, 120] {
        let mut table = Connections { of_capture: true, ..table() };
        let mut seen = Seen::default();
        feed(&mut table, &mut seen, &renegotiating(cut, 23));
        assert_eq!(seen.connections[0].1.authentication, Authentication::ServerOnly);
        let [conclusion] = seen.finals()[..] else { panic!("{:?}", seen.connections) };
        assert_eq!(conclusion.authentication, Authentication::Unknown, "pieces of {cut}");
        assert_eq!(conclusion.reason, Some(UnknownReason::Renegotiation));
        assert_eq!(conclusion.client.kind, EvidenceName::Unknown);
        assert!(seen.decisions.contains(&(CLIENT, Decision::Stop)), "nothing further is wanted");
    }
}

#[test]
fn a_host_is_not_asked_for_bytes_after_the_verdict_and_a_capture_only_where_they_matter() {
    let verdict_at_end = |of_capture, withheld| {
        let mut table = Connections { of_capture, ..table() };
        let mut seen = Seen::default();
        for event in renegotiating(120, 23) {
            let event = match event {
                Event::Segment(segment) if segment.bytes.len() == 120 => Event::Segment(Segment {
                    withheld: if withheld { 120 } else { 0 },
                    bytes: if withheld { Bytes::new() } else { segment.bytes },
                    ..segment
                }),
                other => other,
            };
            table.handle(event, &mut seen);
        }
        table.tick(Timestamp(3 * SECOND), &mut seen);
        (seen.finals()[0].authentication, seen.decisions.contains(&(CLIENT, Decision::Stop)))
    };
    assert_eq!(verdict_at_end(false, false), (Authentication::ServerOnly, true));
    assert_eq!(verdict_at_end(true, false), (Authentication::Unknown, true));
    // The server could still ask for one.
    assert_eq!(verdict_at_end(true, true), (Authentication::ServerOnly, false));
}
