//! The programs on the running kernel. Needs root; without it the tests are skipped aloud, and
//! fail under `CI=true`.
#![expect(unsafe_code, reason = "socket options that nix does not have")]

mod attaching;
mod elf;
mod existing;
mod gnutls_nss;
mod go;
mod library;
mod receives;
mod rustls;
mod sockets;
mod source;

use std::{
    io::Read as _,
    net::{IpAddr, Shutdown, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::*;
use crate::event::{Connect, Established, PeerAsked, Released, Segment, SegmentOwner, Travel};

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
