//! Findings of revisions: each once per connection, whether or not anybody reads the records.

use super::*;
use crate::api::WatchFilter;
use crate::connection::{Connections, Limits};
use crate::event::*;
use crate::identity::ProcessTableLimits;
use crate::record::{Authentication, KnownWorkloadRecord};
use crate::verdict::Code;

const SOCKET: SocketCookie = SocketCookie(7);
const NETNS: NetworkNamespace = NetworkNamespace(5);
const AT: Timestamp = Timestamp(1);
/// The Certificate message of the handshake below has 900 bytes.
const CERTIFICATE: usize = 900 - 8 - 5;

fn publisher() -> Publisher {
    let clock = WallClock { wall_minus_boot: 0 };
    Publisher::new(Parts {
        host: Host::default(),
        clock,
        networks: Networks::new(&[]),
        interfaces: Interfaces::new(NETNS),
        processes: ProcessTable::new(ProcessTableLimits::default(), clock),
        certificates: Certificates::new(8),
        workloads: Workloads::new(None),
        policy: Policy::default(),
        policy_version: "".into(),
        hub: Hub::new(),
        history: History::default(),
        metrics: Metrics::new(&Code::NAMES, "test"),
    })
}

fn connections() -> Connections {
    Connections::new(Limits { connections: 8, sessions: 8, start_budget: 32 << 10, max_budget: 128 << 10 })
}

fn task(pid: u32) -> Task {
    let process = ProcessKey { pid, start_time: 7 };
    Task { process, thread: pid, uid: 0, cgroup: 1, comm: [0; 16], kernel_thread: false }
}

fn pair() -> AddressPair {
    let local = ([10, 0, 0, 1], 40_000).into();
    AddressPair { local, remote: ([10, 0, 0, 2], 443).into() }
}

fn established() -> Event {
    Event::Established(Established {
        at: AT,
        socket: SOCKET,
        role: Role::Client,
        pair: pair(),
        netns: NETNS,
        first_sent: 1,
        first_received: 1,
        beginning: Beginning::Seen,
    })
}

/// A handshake of OpenSSL in which only the server shows a certificate, seen by its client.
fn handshake() -> Vec<Event> {
    let text = include_str!("../../tls/fixtures/13_server_only.hex");
    let mut sent = [0_u32; 2];
    let segment = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let digits: Vec<u8> = words[2].chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        let bytes: Bytes = digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        let side = usize::from(words[0] == "S");
        let sequence = 1 + sent[side];
        sent[side] += bytes.len() as u32;
        Event::Segment(Segment {
            at: AT,
            owner: SegmentOwner::Socket(SOCKET),
            travel: [Travel::Sent, Travel::Received][side],
            sequence,
            acknowledged: 1 + words[1].parse::<u32>().unwrap(),
            withheld: 0,
            withheld_for: Withheld::Budget,
            interface: 1,
            bytes,
        })
    };
    text.lines().filter(|line| !line.starts_with('#')).map(segment).collect()
}

fn call() -> LibraryCall {
    let by = SocketBy::LastReceive;
    let socket = Some(LibrarySocket { socket: SOCKET, by, received_at: AT });
    LibraryCall { at: AT, task: task(3), library: Library::OpenSsl, socket }
}

/// The client's library shows the server's certificate, and finds it wanting.
fn distrusts() -> [Event; 2] {
    let mut list = vec![0, (CERTIFICATE >> 8) as u8, CERTIFICATE as u8];
    list.extend([0x30, 0x82, ((CERTIFICATE - 4) >> 8) as u8, (CERTIFICATE - 4) as u8, 0x30]);
    list.resize(3 + CERTIFICATE, 0x5a);
    list.extend([0, 0]);
    let (presenter, form) = (Presenter::Peer, LibraryForm::List);
    let total = list.len() as u32;
    let bytes = LibraryBytes { call: call(), presenter, form, total, offset: 0, bytes: list.into() };
    let verdict = LibraryVerdict::Failed { code: 18 };
    [
        Event::LibraryBytes(Box::new(bytes)),
        Event::LibraryVerification(Box::new(LibraryVerification { call: call(), verdict })),
    ]
}

fn closed() -> Event {
    let (sent, received) = (10_000, 10_000);
    Event::Closed(Closed { at: AT, socket: SOCKET, sent, received, reason: CloseReason::Fin })
}

fn found(publisher: &Publisher, code: Code) -> u64 {
    let page = publisher.parts.metrics.render_text();
    let prefix = format!("countersign_findings_total{{code=\"{}\"", code.as_str());
    let lines = page.lines().filter(|line| line.starts_with(&prefix));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn a_finding_that_only_the_end_shows_is_counted_although_nobody_reads() {
    let (mut connections, mut publisher) = (connections(), publisher());
    connections.handle(established(), &mut publisher);
    let [hello, flight, rest @ ..] = &handshake()[..] else { unreachable!() };
    for event in [hello, flight].into_iter().chain(&distrusts()).chain(rest) {
        connections.handle(event.clone(), &mut publisher);
    }
    assert_eq!(found(&publisher, Code::ServerOnlyTlsEastWest), 1);
    assert_eq!(found(&publisher, Code::VerificationFailedOverridden), 0);
    connections.handle(closed(), &mut publisher);
    assert_eq!(found(&publisher, Code::ServerOnlyTlsEastWest), 1);
    assert_eq!(found(&publisher, Code::VerificationFailedOverridden), 1);
    assert!(publisher.published.is_empty());
}

#[test]
fn a_finding_is_counted_once_however_many_revisions_there_are() {
    let (mut connections, mut publisher) = (connections(), publisher());
    let watcher = publisher.parts.hub.watch(WatchFilter::default());
    for event in [established()].into_iter().chain(handshake()) {
        connections.handle(event, &mut publisher);
    }
    for pid in 1..4 {
        let asked = PeerAsked {
            at: AT,
            socket: SOCKET,
            task: task(pid),
            pair: pair(),
            netns: NETNS,
            multipath: false,
        };
        connections.handle(Event::PeerAsked(asked), &mut publisher);
    }
    connections.handle(closed(), &mut publisher);
    assert_eq!(found(&publisher, Code::ServerOnlyTlsEastWest), 1);
    drop(watcher);
}

/// The workload of this test's own process, as the book has it.
fn own_workload(publisher: &Publisher) -> KnownWorkloadRecord {
    publisher.parts.workloads.after(None).unwrap()
}

#[test]
fn a_workload_is_counted_by_the_last_word_on_its_connections_although_nobody_reads() {
    let (mut connections, mut publisher) = (connections(), publisher());
    let own = ProcessKey { pid: std::process::id(), start_time: 0 };
    let task = Task { process: own, ..task(own.pid) };
    let connect = Connect { at: AT, socket: SOCKET, task, dialled: pair().remote, netns: NETNS };
    let events = handshake();
    let [hello, flight, rest @ ..] = &events[..] else { unreachable!() };
    for event in [Event::Connect(connect), established(), hello.clone(), flight.clone()] {
        connections.handle(event, &mut publisher);
    }
    assert_eq!(publisher.parts.workloads.after(None), None, "nothing is said yet");
    // It is reported as it stands.
    connections.tick(Timestamp(11_000_000_000), &mut publisher);
    let known = own_workload(&publisher);
    assert_eq!(known.client.authentication, [(Authentication::Unknown, 1)].into());
    assert_eq!((known.client.unknown.len(), known.open_connections), (1, 1));
    for event in rest {
        connections.handle(event.clone(), &mut publisher);
    }
    connections.handle(closed(), &mut publisher);
    let known = own_workload(&publisher);
    assert_eq!(known.client.authentication, [(Authentication::ServerOnly, 1)].into());
    assert_eq!((known.client.connections, known.open_connections), (1, 0));
    assert!(known.client.unknown.is_empty() && known.findings.len() == 1, "{known:?}");
    assert_eq!(known.process.unwrap().pid, own.pid);
}

#[test]
fn a_connection_whose_end_nobody_reads_is_not_open_any_more() {
    let (mut connections, mut publisher) = (connections(), publisher());
    let own = ProcessKey { pid: std::process::id(), start_time: 0 };
    let task = Task { process: own, ..task(own.pid) };
    let connect = Connect { at: AT, socket: SOCKET, task, dialled: pair().remote, netns: NETNS };
    for event in [Event::Connect(connect), established()].into_iter().chain(handshake()) {
        connections.handle(event, &mut publisher);
    }
    assert_eq!(own_workload(&publisher).open_connections, 1);
    connections.handle(closed(), &mut publisher);
    let known = own_workload(&publisher);
    assert_eq!((known.client.connections, known.open_connections), (1, 0));
    assert!(publisher.published.is_empty());
}

#[test]
fn the_history_gets_the_last_word_although_nobody_reads() {
    let (mut connections, mut publisher) = (connections(), publisher());
    let (history, records) = History::kept();
    publisher.parts.history = history;
    let connect = Connect { at: AT, socket: SOCKET, task: task(3), dialled: pair().remote, netns: NETNS };
    for event in [Event::Connect(connect), established()].into_iter().chain(handshake()) {
        connections.handle(event, &mut publisher);
    }
    let revisions = || -> Vec<(u32, bool)> {
        let taken = records.try_iter();
        taken
            .filter_map(|record| match record {
                Record::Connection(connection) => Some((connection.revision, connection.r#final)),
                _ => None,
            })
            .collect()
    };
    assert_eq!(revisions(), [(0, false)], "one that is open is on file");
    connections.handle(closed(), &mut publisher);
    assert_eq!(revisions(), [(1, true)]);
    // Another one with the same finding: readers are not told again, the history is.
    let finding = |publisher: &mut Publisher| {
        publisher.offer_findings();
        records.try_iter().find_map(|record| match record {
            Record::Finding(finding) => Some(finding.count),
            _ => None,
        })
    };
    assert_eq!(finding(&mut publisher), None);
    let again = [Event::Connect(connect), established()].into_iter().chain(handshake());
    for event in again.chain([closed()]) {
        connections.handle(event, &mut publisher);
    }
    assert_eq!(finding(&mut publisher), Some(2));
}

#[test]
fn other_owners_and_another_fit_are_a_new_revision() {
    use crate::record::{IdentityFitName, IdentityFitRecord, LabelsRecord, WorkloadRecord, sample};
    let record = sample::connection(1);
    let labels = |owner: &str| {
        Some(Arc::new(LabelsRecord { owner: Some(owner.to_owned()), ..LabelsRecord::default() }))
    };
    let fit = |status| {
        Some(Arc::new(IdentityFitRecord {
            status,
            rule: Some("any".into()),
            expected: Vec::new(),
            reason: None,
        }))
    };
    let (mut digests, mut changed) = (vec![digest(&record)], record);
    for owner in ["a", "b"] {
        changed.server.labels = labels(owner);
        digests.push(digest(&changed));
    }
    for status in [IdentityFitName::Fits, IdentityFitName::DoesNotFit] {
        changed.client.identity_fit = fit(status);
        digests.push(digest(&changed));
    }
    for reason in ["workload_unknown", "placeholder_unknown"] {
        let mut unknown = IdentityFitRecord::clone(changed.client.identity_fit.as_deref().unwrap());
        (unknown.status, unknown.reason) = (IdentityFitName::Unknown, Some(reason.into()));
        changed.client.identity_fit = Some(unknown.into());
        digests.push(digest(&changed));
    }
    for name in ["a.service", "b.service"] {
        let workload = WorkloadRecord { name: name.to_owned(), ..WorkloadRecord::default() };
        changed.client.workload = Some(workload.into());
        digests.push(digest(&changed));
    }
    assert!((1..digests.len()).all(|index| !digests[..index].contains(&digests[index])), "{digests:?}");
}

#[test]
fn a_verdict_that_is_withdrawn_while_nobody_reads_counts_anew() {
    let (mut connections, mut publisher) = (connections(), publisher());
    let own = ProcessKey { pid: std::process::id(), start_time: 0 };
    let task = Task { process: own, ..task(own.pid) };
    let connect = Connect { at: AT, socket: SOCKET, task, dialled: pair().remote, netns: NETNS };
    let sent = |text: &'static str| {
        Event::Segment(Segment {
            at: AT,
            owner: SegmentOwner::Socket(SOCKET),
            travel: Travel::Sent,
            sequence: 1,
            acknowledged: 1,
            withheld: 0,
            withheld_for: Withheld::Budget,
            interface: 1,
            bytes: text.into(),
        })
    };
    for event in [Event::Connect(connect), established(), sent("GET /one HTTP/1.1\r\nHost: x\r\n")] {
        connections.handle(event, &mut publisher);
    }
    let known = own_workload(&publisher);
    assert_eq!(known.client.authentication, [(Authentication::None, 1)].into());
    // Another copy of the same bytes: which one the server took cannot be known.
    for event in [sent("GET /two HTTP/1.1\r\nHost: x\r\n"), closed()] {
        connections.handle(event, &mut publisher);
    }
    let known = own_workload(&publisher);
    assert_eq!(known.client.authentication, [(Authentication::Unknown, 1)].into());
    assert_eq!(known.client.unknown, [("conflicting".into(), 1)].into());
}

#[test]
fn a_guessed_owner_presents_nothing_until_it_is_known() {
    use crate::record::{CertificateRecord, EvidenceName, WorkloadRecord, sample};
    let leaf = CertificateRecord {
        sha256: "c".to_owned(),
        spki_sha256: Some("k".to_owned()),
        ..CertificateRecord::default()
    };
    let chains = Chains { client: Vec::new(), server: vec![Arc::new(leaf)] };
    let owned = |unit: &str, source: &'static str| {
        let mut record = sample::connection(1);
        record.authentication = Authentication::ServerOnly;
        record.evidence.server = EvidenceName::Certificate;
        record.tls = Some(sample::tls().into());
        record.client.workload = None;
        record.server.certificates = vec!["c".to_owned()];
        record.server.owner_source = Some(source.into());
        let workload = WorkloadRecord {
            kind: "systemd".into(),
            name: unit.to_owned(),
            unit: Some(unit.to_owned()),
            ..WorkloadRecord::default()
        };
        record.server.workload = Some(workload.into());
        record
    };
    let mut publisher = publisher();
    let nothing = publisher.note_uses(&chains, &owned("init.scope", "listener"), [None; 2]);
    assert_eq!((nothing, publisher.uses.entries()), ([None; 2], 0));
    let first = publisher.note_uses(&chains, &owned("web.service", "getpeername"), nothing);
    assert_eq!((first[1].is_some(), publisher.uses.entries()), (true, 1));
    // A chain that was withdrawn was presented by nobody.
    let mut withdrawn = owned("web.service", "getpeername");
    withdrawn.server.certificates.clear();
    assert_eq!(publisher.note_uses(&chains, &withdrawn, first), [None; 2]);
    assert_eq!(publisher.uses.entries(), 0);
}
