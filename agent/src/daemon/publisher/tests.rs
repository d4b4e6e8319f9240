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
        edges: Edges::default(),
        policy: Policy::default(),
        policy_version: "".into(),
        hub: Hub::new(),
        history: History::default(),
        metrics: Metrics::new("test"),
    })
}

fn connections() -> Connections {
    Connections::new(Limits {
        connections: 8,
        sessions: 8,
        start_budget: 32 << 10,
        max_budget: 128 << 10,
        held: 64 << 20,
    })
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
    exchange(include_str!("../../tls/fixtures/13_server_only.hex"), [Travel::Sent, Travel::Received])
}

/// What client and server said, as the socket saw it that each of them `travels` from or to.
fn exchange(text: &str, travels: [Travel; 2]) -> Vec<Event> {
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
            travel: travels[side],
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

fn sent(sequence: u32, text: &'static str) -> Event {
    Event::Segment(Segment {
        at: AT,
        owner: SegmentOwner::Socket(SOCKET),
        travel: Travel::Sent,
        sequence,
        acknowledged: 1,
        withheld: 0,
        withheld_for: Withheld::Budget,
        interface: 1,
        bytes: text.into(),
    })
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
        connections.handle(asked(task(pid), pair()), &mut publisher);
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
    for event in [Event::Connect(connect), established(), sent(1, "GET /one HTTP/1.1\r\nHost: x\r\n")] {
        connections.handle(event, &mut publisher);
    }
    let known = own_workload(&publisher);
    assert_eq!(known.client.authentication, [(Authentication::None, 1)].into());
    // Another copy of the same bytes: which one the server took cannot be known.
    for event in [sent(1, "GET /two HTTP/1.1\r\nHost: x\r\n"), closed()] {
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
    // Who was refused has shown a name, and who holds both ends can show anybody's.
    let mut refused = owned("web.service", "getpeername");
    refused.authentication = Authentication::NotEstablished;
    let mut own = owned("web.service", "getpeername");
    own.client.workload.clone_from(&own.server.workload);
    for record in [refused, own] {
        assert_eq!(publisher.note_uses(&chains, &record, nothing), nothing);
    }
    let first = publisher.note_uses(&chains, &owned("web.service", "getpeername"), nothing);
    assert_eq!((first[1].is_some(), publisher.uses.entries()), (true, 1));
    // A chain that was withdrawn was presented by nobody.
    let mut withdrawn = owned("web.service", "getpeername");
    withdrawn.server.certificates.clear();
    assert_eq!(publisher.note_uses(&chains, &withdrawn, first), [None; 2]);
    assert_eq!(publisher.uses.entries(), 0);
}

/// The socket of a server of this test's own process, of which the listener is known.
fn accepted(connections: &mut Connections) -> (Event, Task) {
    let own = ProcessKey { pid: std::process::id(), start_time: 0 };
    let task = Task { process: own, ..task(own.pid) };
    let pair = pair().mirrored();
    connections.set_listeners([(NETNS, pair.local, task)]);
    let Event::Established(event) = established() else { unreachable!() };
    (Event::Established(Established { role: Role::Server, pair, ..event }), task)
}

fn asked(task: Task, pair: AddressPair) -> Event {
    Event::PeerAsked(PeerAsked { at: AT, socket: SOCKET, task, pair, netns: NETNS, multipath: false })
}

#[test]
fn a_certificate_is_its_presenters_once_a_guess_turns_out_to_be_true_although_nobody_reads() {
    let (mut connections, mut publisher) = (connections(), publisher());
    let (established, task) = accepted(&mut connections);
    connections.handle(established, &mut publisher);
    let text = include_str!("../../tls/fixtures/12_server_only.hex");
    for event in exchange(text, [Travel::Received, Travel::Sent]) {
        connections.handle(event, &mut publisher);
    }
    let known = own_workload(&publisher);
    assert_eq!((known.server.connections, known.certificates.len()), (1, 0), "whoever listens is a guess");
    connections.handle(asked(task, pair().mirrored()), &mut publisher);
    assert_eq!(own_workload(&publisher).certificates.len(), 1);
}

#[test]
fn a_credential_after_the_verdict_is_a_finding_although_nobody_reads() {
    let (mut connections, mut publisher) = (connections(), publisher());
    connections.handle(established(), &mut publisher);
    let (line, header) = ("GET / HTTP/1.1\r\nHost: x\r\n", "Authorization: Basic dTpw\r\n\r\n");
    for (sequence, bytes) in [(1, line), (1 + line.len() as u32, header)] {
        assert_eq!(found(&publisher, Code::CredentialInClear), 0);
        connections.handle(sent(sequence, bytes), &mut publisher);
    }
    assert_eq!(found(&publisher, Code::UnauthenticatedEastWest), 1);
    assert_eq!(found(&publisher, Code::CredentialInClear), 1);
}

#[test]
fn a_holder_is_described_while_it_can_be_although_nobody_reads() {
    let (mut connections, mut publisher) = (connections(), publisher());
    for event in [established()].into_iter().chain(handshake()) {
        connections.handle(event, &mut publisher);
    }
    let own = ProcessKey { pid: std::process::id(), start_time: 0 };
    connections.handle(asked(Task { process: own, ..task(own.pid) }, pair()), &mut publisher);
    let described: Vec<u32> =
        publisher.published.values().next().unwrap().client().iter().map(|one| one.key.pid).collect();
    assert_eq!(described, [own.pid]);
}

#[test]
fn a_process_of_which_nothing_was_known_is_named_once_it_is() {
    let (mut connections, mut publisher) = (connections(), publisher());
    let _watcher = publisher.parts.hub.watch(WatchFilter::default());
    let gone = task(u32::MAX);
    let connect = Connect { at: AT, socket: SOCKET, task: gone, dialled: pair().remote, netns: NETNS };
    for event in [Event::Connect(connect), established()].into_iter().chain(handshake()) {
        connections.handle(event, &mut publisher);
    }
    let executable = |publisher: &Publisher| {
        publisher.published.values().next().unwrap().client()[0].record.executable.clone()
    };
    assert_eq!(executable(&publisher), None);
    let executed = Event::ProcessExecuted { at: AT, task: gone, path: "/usr/bin/late".into() };
    publisher.parts.processes.observe(&executed);
    // Another holder is news.
    connections.handle(asked(task(3), pair()), &mut publisher);
    assert_eq!(executable(&publisher).as_deref(), Some("/usr/bin/late"));
}

#[test]
fn whoever_comes_after_a_change_that_nobody_read_gets_a_revision_of_it() {
    let (mut connections, mut publisher) = (connections(), publisher());
    for event in [established(), sent(1, "GET / HTTP/1.1\r\n\r\n")] {
        connections.handle(event, &mut publisher);
    }
    let revision = |publisher: &Publisher| publisher.published.values().next().unwrap().revision;
    connections.iter().for_each(|connection| publisher.connection(connection, Stage::Open));
    assert_eq!(revision(&publisher), 0, "nobody reads");
    let _watcher = publisher.parts.hub.watch(WatchFilter::default());
    connections.iter().for_each(|connection| publisher.connection(connection, Stage::Open));
    assert_eq!(revision(&publisher), 1);
    connections.iter().for_each(|connection| publisher.connection(connection, Stage::Open));
    assert_eq!(revision(&publisher), 1, "nothing has changed since");
}

#[test]
fn owners_that_are_read_again_take_the_place_of_the_old_ones_in_the_numbers() {
    use crate::record::{LabelsRecord, sample};
    let mut publisher = publisher();
    let labels = LabelsRecord { owner: Some("the old team".to_owned()), ..LabelsRecord::default() };
    let mut record = sample::connection(1);
    record.client.labels = Some(labels.into());
    record.observed_from = vec![SideName::Client];
    publisher.parts.metrics.connection(&record);
    let is_there = |publisher: &Publisher| publisher.parts.metrics.render_text().contains("the old team");
    assert!(is_there(&publisher));
    publisher.set_owners(Arc::default());
    assert!(!is_there(&publisher));
}
