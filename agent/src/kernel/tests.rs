//! The programs on the running kernel. Needs root; without it the tests are skipped aloud, and
//! fail under `CI=true`.
#![expect(unsafe_code, reason = "socket options that nix does not have")]

mod elf;
mod existing;
mod go;
mod library;
mod receives;
mod rustls;

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd},
    time::{Duration, Instant},
};

use nix::libc;

use super::*;
use crate::event::{
    AddressPair, CloseReason, Connect, Established, PeerAsked, Released, Role, Segment, SegmentOwner, Travel,
};

/// How long an event may take: the machine can be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// A ring that holds what peers and the rest of the host do while nobody drains it; of a usual one, events of libraries
/// are refused the second half.
fn roomy() -> KernelOptions {
    KernelOptions { ring_bytes: 64 << 20, ..KernelOptions::default() }
}

fn source(options: &KernelOptions) -> Option<KernelSource> {
    if !nix::unistd::geteuid().is_root() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "these tests need root");
        eprintln!("skipped: needs root");
        return None;
    }
    match KernelSource::start(options) {
        Ok(source) => {
            assert!(source.unavailable().is_empty(), "{:?}", source.unavailable());
            Some(source)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Options under which both ends of a loopback connection ship bytes.
fn both_copies() -> KernelOptions {
    KernelOptions { loopback_once: false, ..KernelOptions::default() }
}

/// Reads events until `enough` of them are there.
fn collect(source: &mut KernelSource, mut enough: impl FnMut(&[Event]) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    while !enough(&events) {
        assert!(Instant::now() < deadline, "not enough: {events:#?}");
        source.wait(Duration::from_millis(100)).unwrap();
        source.drain(usize::MAX, &mut |event| events.push(event));
    }
    events
}

fn cookie_of(stream: &TcpStream) -> SocketCookie {
    SocketCookie(cookie::of(stream).unwrap())
}

struct Pair {
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn new(address: impl Into<IpAddr>) -> Pair {
        let listener = TcpListener::bind((address.into(), 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        Pair { client, server }
    }

    fn cookies(&self) -> [SocketCookie; 2] {
        [cookie_of(&self.client), cookie_of(&self.server)]
    }

    /// Both sides finish, and the peer's FIN is read before the sockets are dropped.
    fn finish(mut self) {
        self.client.shutdown(Shutdown::Write).unwrap();
        self.server.read_to_end(&mut Vec::new()).unwrap();
        drop(self.server);
        self.client.read_to_end(&mut Vec::new()).unwrap();
    }
}

fn connect_of(events: &[Event], cookie: SocketCookie) -> Option<Connect> {
    events.iter().find_map(|event| match event {
        Event::Connect(event) if event.socket == cookie => Some(*event),
        _ => None,
    })
}

fn established_of(events: &[Event], cookie: SocketCookie) -> Option<Established> {
    events.iter().find_map(|event| match event {
        Event::Established(event) if event.socket == cookie => Some(*event),
        _ => None,
    })
}

fn peer_asked_of(events: &[Event], cookie: SocketCookie) -> Vec<PeerAsked> {
    let asked = events.iter().filter_map(|event| match event {
        Event::PeerAsked(event) if event.socket == cookie => Some(*event),
        _ => None,
    });
    asked.collect()
}

fn released_of(events: &[Event], cookie: SocketCookie) -> Vec<Released> {
    let released = events.iter().filter_map(|event| match event {
        Event::Released(event) if event.socket == cookie => Some(*event),
        _ => None,
    });
    released.collect()
}

fn closed_of(events: &[Event], cookie: SocketCookie) -> Option<crate::event::Closed> {
    events.iter().find_map(|event| match event {
        Event::Closed(event) if event.socket == cookie => Some(*event),
        _ => None,
    })
}

fn segments_of(events: &[Event], cookie: SocketCookie, travel: Travel) -> Vec<Segment> {
    let segments = events.iter().filter_map(|event| match event {
        Event::Segment(segment) if segment.owner == SegmentOwner::Socket(cookie) => Some(segment.clone()),
        _ => None,
    });
    segments.filter(|segment| segment.travel == travel).collect()
}

/// The bytes of one direction put in order.
fn stream_of(events: &[Event], cookie: SocketCookie, travel: Travel) -> Vec<u8> {
    let established = established_of(events, cookie).unwrap();
    let first = match travel {
        Travel::Sent => established.first_sent,
        Travel::Received => established.first_received,
    };
    let mut bytes = Vec::new();
    for segment in segments_of(events, cookie, travel).iter().filter(|segment| !segment.bytes.is_empty()) {
        let start = segment.sequence.wrapping_sub(first) as usize;
        let end = start + segment.bytes.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(&segment.bytes);
    }
    bytes
}

fn conversation(address: impl Into<IpAddr>) {
    let Some(mut source) = source(&both_copies()) else { return };
    let mut pair = Pair::new(address);
    let [client, server] = pair.cookies();
    let (from, to) = (pair.client.local_addr().unwrap(), pair.client.peer_addr().unwrap());
    pair.client.write_all(b"who are you?").unwrap();
    pair.server.read_exact(&mut [0; 12]).unwrap();
    pair.server.write_all(b"and you?").unwrap();
    pair.finish();
    let events = collect(&mut source, |events| {
        [client, server].iter().all(|cookie| closed_of(events, *cookie).is_some())
    });

    let connect = connect_of(&events, client).unwrap();
    assert_eq!(connect.dialled, to);
    assert_eq!(connect.task.process.pid, std::process::id());
    assert_ne!(connect.task.process.start_time, 0);
    assert!(!connect.task.kernel_thread);

    let active = established_of(&events, client).unwrap();
    let passive = established_of(&events, server).unwrap();
    assert_eq!((active.role, passive.role), (Role::Client, Role::Server));
    assert_eq!(active.pair, AddressPair { local: from, remote: to });
    assert_eq!(passive.pair, active.pair.mirrored());
    assert_eq!((active.first_sent, active.first_received), (passive.first_received, passive.first_sent));
    assert_eq!((active.netns, passive.netns), (connect.netns, connect.netns));
    assert!(connect.at <= active.at);

    let asked = peer_asked_of(&events, server);
    assert_eq!(asked.len(), 1, "once per socket and process: {asked:?}");
    assert_eq!(asked[0].task.process, connect.task.process);
    assert_eq!((asked[0].pair, asked[0].multipath), (passive.pair, false));
    assert!(peer_asked_of(&events, client).is_empty(), "the client's own question is no news");

    assert_eq!(stream_of(&events, client, Travel::Sent), b"who are you?");
    assert_eq!(stream_of(&events, server, Travel::Received), b"who are you?");
    assert_eq!(stream_of(&events, client, Travel::Received), b"and you?");
    assert_eq!(stream_of(&events, server, Travel::Sent), b"and you?");

    assert!(released_of(&events, client).is_empty() && released_of(&events, server).is_empty());
    for (cookie, sent, received) in [(client, 12, 8), (server, 8, 12)] {
        let closed = closed_of(&events, cookie).unwrap();
        assert_eq!(closed.reason, CloseReason::Fin);
        assert_eq!(closed.sent, sent);
        // From FIN_WAIT2 the peer's FIN may be counted.
        assert!((received..=received + 1).contains(&closed.received), "{closed:?}");
    }
    assert_eq!(source.losses().malformed, 0);
}

#[test]
fn a_conversation_over_ipv4() {
    conversation(Ipv4Addr::LOCALHOST);
}

#[test]
fn a_conversation_over_ipv6() {
    conversation(Ipv6Addr::LOCALHOST);
}

#[test]
fn ipv4_on_an_ipv6_socket_is_told_as_ipv4() {
    let Some(mut source) = source(&both_copies()) else { return };
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    let cookie = cookie_of(&server);
    let events = collect(&mut source, |events| !peer_asked_of(events, cookie).is_empty());
    let pair = established_of(&events, cookie).unwrap().pair;
    assert_eq!(pair.remote, client.local_addr().unwrap());
    assert_eq!(peer_asked_of(&events, cookie)[0].pair, pair);
}

#[test]
fn a_super_packet_comes_whole() {
    let budget = 65_536;
    let Some(mut source) = source(&KernelOptions { start_budget: budget, ..both_copies() }) else {
        return;
    };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let [client, server] = pair.cookies();
    let sent: Vec<u8> = (0..60_001u32).map(|index| (index * 7 / 3) as u8).collect();
    pair.client.write_all(&sent).unwrap();
    let mut received = vec![0; sent.len()];
    pair.server.read_exact(&mut received).unwrap();
    pair.finish();
    let events = collect(&mut source, |events| closed_of(events, client).is_some());
    assert_eq!(stream_of(&events, client, Travel::Sent), sent);
    assert_eq!(stream_of(&events, server, Travel::Received), sent);
    assert!(segments_of(&events, client, Travel::Sent).iter().all(|segment| segment.withheld == 0));
    assert!(source.losses().bytes_shipped >= 2 * sent.len() as u64);
}

#[test]
fn no_more_than_the_budget_is_shipped() {
    let budget = 1000;
    let Some(mut source) = source(&KernelOptions { start_budget: budget, ..both_copies() }) else {
        return;
    };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let [client, _] = pair.cookies();
    for _ in 0..5 {
        pair.client.write_all(&[7; 700]).unwrap();
        pair.server.read_exact(&mut [0; 700]).unwrap();
    }
    pair.finish();
    let events = collect(&mut source, |events| closed_of(events, client).is_some());
    let segments = segments_of(&events, client, Travel::Sent);
    let told: Vec<_> = segments.iter().map(|segment| (segment.bytes.len(), segment.withheld)).collect();
    assert_eq!(told, [(700, 0), (300, 400), (0, 700)], "the end of the budget is told once");
    assert!(stream_of(&events, client, Travel::Sent) == [7; 1000]);
}

#[test]
fn a_stopped_socket_ships_nothing_more() {
    let Some(mut source) = source(&both_copies()) else { return };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let cookies = pair.cookies();
    pair.client.write_all(b"before").unwrap();
    pair.server.read_exact(&mut [0; 6]).unwrap();
    for cookie in cookies {
        source.decide(cookie, Decision::Stop).unwrap();
    }
    pair.client.write_all(b"after").unwrap();
    pair.server.read_exact(&mut [0; 5]).unwrap();
    pair.finish();
    let events =
        collect(&mut source, |events| cookies.iter().all(|cookie| closed_of(events, *cookie).is_some()));
    let [client, server] = cookies;
    assert_eq!(stream_of(&events, client, Travel::Sent), b"before");
    assert_eq!(stream_of(&events, server, Travel::Received), b"before");
    for cookie in cookies {
        assert!(source.decisions.get(&cookie.0, 0).is_err(), "the packet that took it up removes it");
    }
}

#[test]
fn a_smaller_budget_holds_from_the_next_packet() {
    let Some(mut source) = source(&both_copies()) else { return };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let [client, _] = pair.cookies();
    source.decide(client, Decision::Budget { sent: 4, received: 0 }).unwrap();
    pair.client.write_all(b"123456").unwrap();
    pair.server.read_exact(&mut [0; 6]).unwrap();
    pair.finish();
    let events = collect(&mut source, |events| closed_of(events, client).is_some());
    assert_eq!(stream_of(&events, client, Travel::Sent), b"1234");
}

#[test]
fn data_on_the_listening_socket_is_not_missed() {
    let Some(mut source) = source(&both_copies()) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let seconds: libc::c_int = 30;
    // SAFETY: the option's value is a valid integer of the length given.
    let set = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
    // The kernel takes the option up when the socket listens.
    // SAFETY: the descriptor is that of an open socket.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 16) }, 0);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.write_all(b"early").unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"late").unwrap();
    server.read_exact(&mut [0; 9]).unwrap();
    let cookie = cookie_of(&server);
    let events = collect(&mut source, |events| !segments_of(events, cookie, Travel::Received).is_empty());
    let established = established_of(&events, cookie).unwrap();
    let early = events.iter().find_map(|event| match event {
        Event::Segment(segment) => match segment.owner {
            SegmentOwner::Listener { pair, netns } if pair == established.pair => Some((segment, netns)),
            _ => None,
        },
        _ => None,
    });
    let (segment, netns) = early.expect("a segment of the listening socket");
    assert_eq!((segment.bytes.as_ref(), netns), (b"early".as_slice(), established.netns));
    assert_eq!(segment.sequence, established.first_received);
    assert_eq!(segments_of(&events, cookie, Travel::Received)[0].bytes, b"late".as_slice());
}

#[test]
fn who_accepts_without_an_address_is_known_at_the_release() {
    let Some(mut source) = source(&both_copies()) else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let descriptor = nix::sys::socket::accept(listener.as_raw_fd()).unwrap();
    // SAFETY: accept(2) has just returned this descriptor, and nothing else owns it.
    let server = unsafe { TcpStream::from_raw_fd(descriptor) };
    let cookie = cookie_of(&server);
    drop(server);
    let events = collect(&mut source, |events| !released_of(events, cookie).is_empty());
    let released = released_of(&events, cookie)[0];
    assert_eq!(released.task.process.pid, std::process::id());
    assert_eq!(released.pair.remote, client.local_addr().unwrap());
    assert!(peer_asked_of(&events, cookie).is_empty());
}

#[test]
fn a_reset_is_not_a_finish() {
    let Some(mut source) = source(&both_copies()) else { return };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let [client, server] = pair.cookies();
    pair.client.write_all(b"unread").unwrap();
    pair.server.peek(&mut [0; 6]).unwrap();
    // Dropped with unread data: the kernel sends a reset.
    drop(pair.server);
    let events = collect(&mut source, |events| {
        closed_of(events, client).is_some() && closed_of(events, server).is_some()
    });
    assert_eq!(closed_of(&events, client).unwrap().reason, CloseReason::Reset);
    assert_eq!(closed_of(&events, client).unwrap().sent, 6);
    assert_eq!(closed_of(&events, server).unwrap().reason, CloseReason::Reset);
}

#[test]
fn bytes_over_loopback_are_shipped_once() {
    let Some(mut source) = source(&KernelOptions::default()) else { return };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let [client, server] = pair.cookies();
    pair.client.write_all(b"question").unwrap();
    pair.server.read_exact(&mut [0; 8]).unwrap();
    pair.server.write_all(b"answer").unwrap();
    pair.client.read_exact(&mut [0; 6]).unwrap();
    pair.finish();
    let events = collect(&mut source, |events| {
        closed_of(events, client).is_some() && closed_of(events, server).is_some()
    });
    assert_eq!(stream_of(&events, client, Travel::Sent), b"question");
    assert_eq!(stream_of(&events, server, Travel::Sent), b"answer");
    for socket in [client, server] {
        assert!(segments_of(&events, socket, Travel::Received).is_empty());
    }
}

#[test]
fn a_connection_older_than_the_agent_is_found_with_its_holder() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let Some(mut source) = source(&both_copies()) else { return };
    let found = source.existing().unwrap();
    for (stream, role) in [(&client, None), (&server, Some(Role::Server))] {
        let existing = found.events.iter().find_map(|event| match event {
            Event::Existing(existing) if existing.socket == cookie_of(stream) => Some(*existing),
            _ => None,
        });
        let existing = existing.unwrap();
        assert_eq!(existing.role, role);
        assert_eq!(existing.pair.local, stream.local_addr().unwrap());
        assert_eq!(existing.pair.remote, stream.peer_addr().unwrap());
        let owner = existing.owner.unwrap();
        assert_eq!(owner.process.pid, std::process::id());
        assert_ne!((owner.process.start_time, existing.netns.0), (0, 0));
        assert_eq!(owner.uid, nix::unistd::getuid().as_raw());
    }
    let heard = found.listeners.iter().find(|seen| seen.local == listener.local_addr().unwrap()).unwrap();
    assert_eq!(heard.owner.process.pid, std::process::id());

    // Its packets are of no use and ship nothing; a newer connection marks the end of the waiting.
    client.write_all(b"old").unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    let newer = Pair::new(Ipv4Addr::LOCALHOST);
    let marker = newer.cookies()[0];
    let events = collect(&mut source, |events| established_of(events, marker).is_some());
    assert!(segments_of(&events, cookie_of(&client), Travel::Sent).is_empty());
}

#[test]
fn a_process_is_told_from_fork_to_exit() {
    let Some(mut source) = source(&both_copies()) else { return };
    let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let events = collect(&mut source, |events| {
        events.iter().any(|event| matches!(event, Event::ProcessExited { process, .. } if process.pid == pid))
    });
    let forked = events.iter().find_map(|event| match event {
        Event::ProcessForked { parent, child, .. } if child.pid == pid => Some((*parent, *child)),
        _ => None,
    });
    let (parent, child) = forked.unwrap();
    assert_eq!(parent.pid, std::process::id());
    let executed = events.iter().find_map(|event| match event {
        Event::ProcessExecuted { task, path, .. } if task.process == child => Some((*task, path.clone())),
        _ => None,
    });
    let (task, path) = executed.unwrap();
    assert_eq!(path, b"/bin/true".as_slice());
    assert_eq!(task.comm, *b"true\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn a_full_ring_is_counted() {
    let Some(mut source) = source(&KernelOptions { ring_bytes: 65_536, ..both_copies() }) else {
        return;
    };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let [client, server] = pair.cookies();
    let budget = Decision::Budget { sent: 1 << 20, received: 1 << 20 };
    source.decide(client, budget).unwrap();
    source.decide(server, budget).unwrap();
    for _ in 0..40 {
        pair.client.write_all(&[1; 4096]).unwrap();
        pair.server.read_exact(&mut [0; 4096]).unwrap();
    }
    assert_ne!(source.losses().ring_full, 0);
    // The source goes on afterwards.
    source.drain(usize::MAX, &mut |_| {});
    let newer = Pair::new(Ipv4Addr::LOCALHOST);
    let marker = newer.cookies()[0];
    collect(&mut source, |events| established_of(events, marker).is_some());
}

#[test]
fn dropping_the_source_detaches_everything() {
    let Some(source) = source(&both_copies()) else { return };
    // Those of libraries are loaded with the first probe.
    let ids: Vec<u32> = {
        let ebpf = source.ebpf.lock().unwrap();
        let loaded = ebpf.programs().filter_map(|(_, program)| program.info().ok());
        loaded.map(|information| information.id()).collect()
    };
    assert_eq!(ids.len(), 12);
    drop(source);
    let deadline = Instant::now() + PATIENCE;
    // The kernel frees programs a moment after their last user.
    while aya::programs::loaded_programs().flatten().any(|program| ids.contains(&program.id())) {
        assert!(Instant::now() < deadline, "still loaded");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_ring_of_an_odd_size_is_refused_with_a_reason() {
    let refused = KernelSource::start(&KernelOptions { ring_bytes: 100_000, ..both_copies() });
    assert!(matches!(refused.err(), Some(KernelError::RingSize { bytes: 100_000 })));
}

#[test]
fn an_ipv4_address_is_not_shown_as_mapped() {
    let record = countersign_common::PairRecord {
        local: [0, 0, u32::from_be(0xffff), u32::from_ne_bytes([127, 0, 0, 1])],
        remote: [0, 0, 0, u32::from_be(1)],
        local_port: 1,
        remote_port: 2,
        family: countersign_common::family::INET6,
    };
    let pair = decode::pair_of(&record).unwrap();
    assert_eq!(pair.local, SocketAddr::from(([127, 0, 0, 1], 1)));
    assert_eq!(pair.remote, SocketAddr::from((Ipv6Addr::LOCALHOST, 2)));
}

#[test]
fn the_preflight_agrees_with_the_start() {
    let Some(_source) = source(&both_copies()) else { return };
    let checks = preflight(&KernelOptions::default());
    let missing: Vec<_> = checks.iter().filter(|check| check.status == CheckStatus::Missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for program in [
        "connect4",
        "ingress",
        "task_file",
        "older sockets",
        "sched_process_exec",
        "library probes",
        "sock_recv_length",
    ] {
        assert!(checks.iter().any(|check| check.name == program && check.status == CheckStatus::Works));
    }
}

#[test]
fn the_preflight_says_what_to_do_without_a_cgroup() {
    let options = KernelOptions { cgroup_root: Some("/nowhere".into()), ..Default::default() };
    let checks = preflight(&options);
    let cgroup = checks.iter().find(|check| check.name == "cgroup v2").unwrap();
    assert_eq!(cgroup.status, CheckStatus::Missing);
    assert!(cgroup.remedy.is_some());
}
