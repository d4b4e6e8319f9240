//! The same addresses in several networks at once, and one connection that was captured in several.

use super::build::*;
use super::*;
use crate::event::Beginning;

/// Puts a packet into a network.
type Wrap = fn(&[u8]) -> Vec<u8>;

fn vlans(ids: &[u16], packet: &[u8]) -> Vec<u8> {
    let tags = ids.iter().flat_map(|id| [[0x81, 0], (0xe000 | id).to_be_bytes()].concat());
    [vec![2; 12], tags.collect(), vec![8, 0], packet.to_vec()].concat()
}

fn outer(protocol: u8, payload: &[&[u8]]) -> Vec<u8> {
    ethernet(0x0800, &ipv4([192, 0, 2, 1], [192, 0, 2, 2], protocol, &payload.concat()))
}

fn vxlan(number: u8, inner: &[u8]) -> Vec<u8> {
    outer(17, &[&udp(5_000, 4789, &[&[8, 0, 0, 0, 0, 0, number, 0], inner].concat())])
}

fn geneve(number: u8, inner: &[u8]) -> Vec<u8> {
    outer(17, &[&udp(5_000, 6081, &[&[0, 0, 8, 0, 0, 0, number, 0], inner].concat())])
}

fn untagged(packet: &[u8]) -> Vec<u8> {
    ethernet(0x0800, packet)
}

fn vlan_5(packet: &[u8]) -> Vec<u8> {
    vlans(&[5], packet)
}

fn vlan_6(packet: &[u8]) -> Vec<u8> {
    vlans(&[6], packet)
}

/// The usual connection with other initial sequence numbers.
fn another() -> Vec<Vec<u8>> {
    let mut packets = connection();
    for (index, packet) in packets.iter_mut().enumerate() {
        // The first one acknowledges nothing.
        for place in if index == 0 { vec![24] } else { vec![24, 28] } {
            let number = u32::from_be_bytes(packet[place..place + 4].try_into().unwrap());
            packet[place..place + 4].copy_from_slice(&number.wrapping_add(0x7000_0000).to_be_bytes());
        }
    }
    packets
}

fn wrapped(packets: Vec<Vec<u8>>, client: Wrap, server: Wrap) -> Vec<Vec<u8>> {
    packets
        .iter()
        .map(|packet| if packet[12..16] == CLIENT { client(packet) } else { server(packet) })
        .collect()
}

/// Packet by packet.
fn at_once(one: &[Vec<u8>], other: &[Vec<u8>]) -> Replayed {
    let packets: Vec<_> =
        one.iter().zip(other).flat_map(|(one, other)| [one.clone(), other.clone()]).collect();
    replay(&Pcap::default().write(&packets))
}

fn are_two(replayed: &Replayed) {
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin); 2], "{:?}", replayed.summary);
    assert_eq!(replayed.said(), (b"hellohello".to_vec(), b"welcomewelcome".to_vec()));
    assert!(replayed.established().iter().all(|one| one.beginning == Beginning::Seen));
    assert_eq!((replayed.summary.attempts_without_answer, replayed.summary.empty_flows), (0, 0));
}

fn is_one(replayed: &Replayed) {
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin)], "{:?}", replayed.summary);
    assert_eq!((replayed.summary.flows, replayed.summary.empty_flows), (1, 0));
}

/// Else one of them is lost, and counted as an attempt.
#[test]
fn the_same_addresses_in_two_networks_are_two_connections() {
    let networks: [(Wrap, Wrap); 6] = [
        (vlan_5, vlan_6),
        (untagged, vlan_5),
        (|packet| vlans(&[5, 9], packet), |packet| vlans(&[6, 9], packet)),
        (|packet| vxlan(1, &vlan_5(packet)), |packet| vxlan(2, &vlan_5(packet))),
        (|packet| geneve(1, packet), |packet| geneve(2, packet)),
        (
            |packet| outer(47, &[&[0x20, 0, 8, 0, 0, 0, 0, 1], packet]),
            |packet| outer(47, &[&[0xa0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 2], packet]),
        ),
    ];
    for (one, other) in networks {
        are_two(&at_once(&wrapped(connection(), one, one), &wrapped(another(), other, other)));
    }
}

/// The answers' numbers tell whose they are. Questions that look alike but for their number are one attempt and its repetition.
#[test]
fn answers_without_a_tag_find_their_question() {
    are_two(&at_once(&wrapped(connection(), vlan_5, untagged), &wrapped(another(), vlan_6, untagged)));
}

#[test]
fn a_capture_that_begins_in_the_middle_tells_networks_apart() {
    let one = wrapped(connection(), vlan_5, vlan_5);
    let other = wrapped(another(), vlan_6, vlan_6);
    for begin in [2, 3] {
        let replayed = at_once(&one[begin..], &other[begin..]);
        assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin); 2], "{begin}: {:?}", replayed.summary);
    }
}

/// Mirror ports often tag one direction only, and tunnels have a key for each.
#[test]
fn directions_in_different_networks_are_one_connection() {
    for begin in 0..4 {
        let packets = wrapped(connection(), vlan_5, untagged);
        is_one(&replay(&Pcap::default().write(&packets[begin..])));
        let gre: [Wrap; 2] = [
            |packet| outer(47, &[&[0x20, 0, 8, 0, 0, 0, 0, 1], packet]),
            |packet| outer(47, &[&[0x20, 0, 8, 0, 0, 0, 0, 2], packet]),
        ];
        is_one(&replay(&Pcap::default().write(&wrapped(connection(), gre[0], gre[1])[begin..])));
    }
}

#[test]
fn a_connection_that_was_captured_before_and_behind_a_router_is_one() {
    let one = wrapped(connection(), vlan_5, vlan_5);
    let other = wrapped(connection(), vlan_6, vlan_6);
    is_one(&at_once(&one, &other));
}

/// A refusal's sequence number is 0, and still it is the answer.
#[test]
fn a_refusal_in_another_network_ends_the_attempt() {
    let refusal = ipv4(SERVER, CLIENT, 6, &tcp(SERVER_PORT, CLIENT_PORT, 0, CLIENT_ISN + 1, RST | ACK, b""));
    let packets = [vlan_5(&opening()[0]), untagged(&refusal)];
    let summary = replay(&Pcap::default().write(&packets)).summary;
    assert_eq!((summary.attempts_without_answer, summary.stray_packets), (1, 0));
}

/// An adversary's choice: each further flow with the same addresses would make all their packets dearer.
#[test]
fn networks_with_the_same_addresses_are_bounded() {
    let mut packets = Vec::new();
    for id in 1..=100 {
        let (isn, other) = (u32::from(id) << 25, u32::from(id) << 25 | 7);
        let asks = ipv4(CLIENT, SERVER, 6, &tcp(CLIENT_PORT, SERVER_PORT, isn, 0, SYN, b""));
        let answers = ipv4(SERVER, CLIENT, 6, &tcp(SERVER_PORT, CLIENT_PORT, other, isn + 1, SYN | ACK, b""));
        packets.extend([vlans(&[id], &asks), vlans(&[id], &answers)]);
    }
    let replayed = replay(&Pcap::default().write(&packets));
    assert_eq!(replayed.summary.flows, 100);
    assert_eq!(replayed.summary.flows_evicted, 100 - flows::SAME_ADDRESSES_MAX as u64);
}
