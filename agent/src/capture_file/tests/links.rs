//! Link layers, IP and tunnels: the same conversation is found in every wrapping.

use super::build::*;
use super::*;

/// What both sides say must come through the wrapping of every packet.
fn comes_through(link: u32, wrap: impl Fn(&[u8]) -> Vec<u8>) -> Replayed {
    let packets: Vec<Vec<u8>> = connection().iter().map(|packet| wrap(packet)).collect();
    let replayed = replay(&Pcap { link, ..Pcap::default() }.write(&packets));
    assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()), "{:?}", replayed.summary);
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin)]);
    assert_eq!((replayed.summary.malformed, replayed.summary.not_ip), (0, 0));
    replayed
}

fn before(prefix: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let prefix = prefix.to_vec();
    move |packet| [&prefix, packet].concat()
}

#[test]
fn every_link_layer_is_seen_through() {
    let sll2 = [&[8, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6][..], &[0; 8]].concat();
    for (link, prefix) in [
        (0, vec![2, 0, 0, 0]),
        (0, vec![0, 0, 0, 2]),
        (108, vec![0, 0, 0, 2]),
        (9, vec![0, 0x21]),
        (9, vec![0x21]),
        (50, vec![0xff, 3, 0, 0x21]),
        (50, vec![0x0f, 0, 8, 0]),
        (51, vec![0x11, 0, 0, 1, 0, 42, 0, 0x21]),
        (12, vec![]),
        (14, vec![]),
        (101, vec![]),
        (228, vec![]),
        (104, vec![0x0f, 0, 8, 0]),
        (113, [&[0; 14][..], &[8, 0]].concat()),
        (276, sll2),
    ] {
        comes_through(link, before(&prefix));
    }
}

#[test]
fn tags_and_labels_are_passed_over() {
    for prefix in [
        &[0x81, 0, 0, 5, 8, 0][..],
        &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0],
        &[0x91, 0, 0, 5, 0x81, 0, 0, 6, 8, 0],
        &[0x89, 0x09, 1, 1, 0, 1, 0, 7, 8, 0],
        &[0x81, 0, 0, 5, 0x89, 0x09, 1, 1, 0, 1, 0, 7, 8, 0],
        &[0x88, 0x47, 0, 1, 0, 64, 0, 1, 1, 64],
        &[0x88, 0x64, 0x11, 0, 0, 1, 0, 42, 0, 0x21],
        &[0, 50, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
    ] {
        comes_through(1, before(&[&[2; 12], prefix].concat()));
    }
}

#[test]
fn padding_of_short_frames_is_no_payload() {
    comes_through(1, |packet| {
        let mut frame = ethernet(0x0800, packet);
        frame.resize(frame.len().max(60) + 4, 0xee);
        frame
    });
}

#[test]
fn a_length_left_to_the_network_card_is_the_captured_one() {
    comes_through(101, |packet| {
        let mut packet = packet.to_vec();
        packet[2..4].fill(0);
        packet
    });
}

/// The TCP part of an IPv4 packet of the usual connection, and whether the client sent it.
fn transport(packet: &[u8]) -> (bool, &[u8]) {
    (packet[12..16] == CLIENT, &packet[20..])
}

fn as_ipv6(packet: &[u8], next: u8, extensions: &[u8]) -> Vec<u8> {
    let (from_client, tcp) = transport(packet);
    let (from, to) = if from_client { (1, 2) } else { (2, 1) };
    ipv6(from, to, next, &[extensions, tcp].concat())
}

#[test]
fn ipv6_and_its_extension_headers_are_passed_over() {
    for (next, extensions) in [
        (6, &[][..]),
        (0, &[6, 0, 1, 4, 0, 0, 0, 0]),
        (0, &[60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0]),
        (43, &[6, 0, 0, 0, 0, 0, 0, 0]),
        // An atomic fragment (RFC 6946).
        (44, &[6, 0, 0, 0, 0, 0, 0, 9]),
    ] {
        let replayed = comes_through(101, |packet| as_ipv6(packet, next, extensions));
        assert_eq!(replayed.established()[0].pair.local, "[fd00::1]:40000".parse().unwrap());
    }
}

#[test]
fn one_tunnel_is_looked_into_and_a_second_is_counted() {
    let outer = |protocol: u8, payload: &[u8]| ipv4([192, 0, 2, 1], [192, 0, 2, 2], protocol, payload);
    let gre = |header: &[u8], inner: &[u8]| outer(47, &[header, inner].concat());
    let vxlan = |frame: &[u8]| outer(17, &udp(5_000, 4789, &[&[8, 0, 0, 0, 0, 0, 7, 0], frame].concat()));
    let geneve = |frame: &[u8]| {
        outer(17, &udp(5_000, 6081, &[&[1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 0], frame].concat()))
    };
    let gtp = |header: &[u8], inner: &[u8]| outer(17, &udp(2152, 2152, &[header, inner].concat()));
    type Wrap<'a> = Box<dyn Fn(&[u8]) -> Vec<u8> + 'a>;
    let wraps: Vec<Wrap<'_>> = vec![
        Box::new(|packet| outer(4, packet)),
        Box::new(|packet| outer(41, &as_ipv6(packet, 6, &[]))),
        Box::new(|packet| gre(&[0, 0, 8, 0], packet)),
        Box::new(|packet| gre(&[0xb0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1], packet)),
        Box::new(|packet| gre(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 9], &ethernet(0x0800, packet))),
        Box::new(|packet| {
            gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], &ethernet(0x0800, packet))
        }),
        Box::new(|packet| {
            gre(&[0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 3, 0, 0x21], packet)
        }),
        Box::new(|packet| vxlan(&ethernet(0x0800, packet))),
        Box::new(|packet| geneve(&ethernet(0x0800, packet))),
        Box::new(|packet| gtp(&[0x30, 0xff, 0, 0, 0, 0, 0, 1], packet)),
        Box::new(|packet| gtp(&[0x34, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0x10, 9, 0], packet)),
    ];
    for wrap in &wraps {
        let replayed = comes_through(101, wrap);
        assert_eq!(replayed.summary.tunnelled, 8);
        let twice =
            replay(&Pcap { link: 101, ..Pcap::default() }.write(&[outer(4, &wrap(&connection()[0]))]));
        assert_eq!((twice.summary.tcp_packets, twice.summary.tunnelled_deeper), (0, 1));
    }
}

/// Every packet with payload in fragments of 8 bytes, in an order.
fn in_fragments(order: impl Fn(&mut Vec<Vec<u8>>)) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for (index, packet) in connection().into_iter().enumerate() {
        let (from_client, tcp) = transport(&packet);
        let (from, to) = if from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let pieces = tcp.chunks(8).enumerate().map(|(place, piece)| {
            let more = if (place + 1) * 8 < tcp.len() { 0x2000 } else { 0 };
            fragment_v4(from, to, 6, (index as u16, more | place as u16), piece)
        });
        let mut pieces = pieces.collect();
        order(&mut pieces);
        packets.extend(pieces);
    }
    packets
}

#[test]
fn fragments_are_put_together_in_any_order() {
    let orders: [fn(&mut Vec<Vec<u8>>); 3] = [|_| {}, |pieces| pieces.reverse(), |pieces| pieces.swap(0, 1)];
    for order in orders {
        let replayed = replay(&capture(&in_fragments(order)));
        assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()));
        assert_eq!(replayed.summary.fragments_dropped, 0);
    }
}

#[test]
fn ipv6_fragments_are_put_together() {
    let packets: Vec<Vec<u8>> = connection()
        .iter()
        .enumerate()
        .flat_map(|(index, packet)| {
            let (from_client, tcp) = transport(packet);
            let (from, to) = if from_client { (1, 2) } else { (2, 1) };
            let header = |place: u8| [6, 0, 0, place, 0, 0, 0, index as u8];
            [
                ipv6(from, to, 44, &[&header(1)[..], &tcp[..16]].concat()),
                ipv6(from, to, 44, &[&header(16)[..], &tcp[16..]].concat()),
            ]
        })
        .collect();
    let replayed = replay(&Pcap { link: 101, ..Pcap::default() }.write(&packets));
    assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()));
}

#[test]
fn fragments_that_contradict_each_other_are_dropped() {
    // The second copy of the last piece has other bytes: which one the receiver took cannot be known.
    let packets = in_fragments(|pieces| {
        let mut other = pieces[1].clone();
        if let Some(last) = other.last_mut() {
            *last ^= 1;
        }
        pieces.insert(1, other);
    });
    let replayed = replay(&capture(&packets));
    assert_eq!(replayed.said(), (vec![], vec![]));
    assert_eq!(replayed.summary.fragments_dropped, replayed.summary.fragments);
}

#[test]
fn fragments_without_end_are_bounded() {
    let piece = |index: u32| {
        fragment_v4(CLIENT, [10, 9, (index >> 8) as u8, index as u8], 6, (1, 0x2000), &[0; 1400])
    };
    let packets: Vec<Vec<u8>> = (0..3000).map(piece).collect();
    let replayed = replay(&capture(&packets));
    assert_eq!((replayed.summary.fragments, replayed.summary.fragments_dropped), (3000, 3000));
}

#[test]
fn what_is_not_looked_at_is_counted() {
    let frames = [ethernet(0x0806, &[0; 28]), ethernet(0x0800, &[0x45, 0]), vec![0; 5]];
    let summary = replay(&Pcap::default().write(&frames)).summary;
    assert_eq!((summary.not_ip, summary.malformed), (1, 2));
    let summary = replay(&Pcap { link: 127, ..Pcap::default() }.write(&frames)).summary;
    assert_eq!(summary.unsupported_links.into_iter().collect::<Vec<_>>(), [(127, 3)]);
}

#[test]
fn quic_and_dtls_are_counted_once_per_address_pair() {
    let quic = [&[0xc3, 0, 0, 0, 1, 8][..], &[7; 40]].concat();
    let dtls = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40][..], &[1; 40]].concat();
    let datagram = |port, payload: &[u8]| ipv4(CLIENT, SERVER, 17, &udp(port, 443, payload));
    let answer = ipv4(SERVER, CLIENT, 17, &udp(443, 5_000, &quic));
    let packets = [
        datagram(5_000, &quic),
        answer,
        datagram(5_001, &quic),
        datagram(5_002, &dtls),
        datagram(53, b"dns"),
    ];
    let summary = replay(&capture(&packets)).summary;
    assert_eq!((summary.quic_flows, summary.dtls_flows), (2, 1));
}
