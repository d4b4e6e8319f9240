//! What the hooks tell of sockets and of their bytes.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _},
};

use nix::libc;

use super::{
    super::*, Pair, both_copies, closed_of, collect, connect_of, cookie_of, established_of, peer_asked_of,
    released_of, segments_of, source, stream_of,
};
use crate::event::{AddressPair, CloseReason, Role, SegmentOwner, Travel};

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
