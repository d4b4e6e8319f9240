//! Flows: beginnings, ends, and what is between.

use super::build::*;
use super::*;
use crate::event::{Beginning, Decision};

/// The first bytes of a ClientHello and of a ServerHello.
const CLIENT_HELLO: &[u8] = &[0x16, 3, 1, 0, 10, 1, 0, 0, 6, 3, 3];
const SERVER_HELLO: &[u8] = &[0x16, 3, 3, 0, 10, 2, 0, 0, 6, 3, 3];

fn replay_packets(packets: &[Vec<u8>]) -> Replayed {
    replay(&capture(packets))
}

#[test]
fn a_connection_is_told_as_its_client_saw_it() {
    let replayed = replay_packets(&connection());
    let [established] = replayed.established()[..] else { panic!("{:?}", replayed.events) };
    assert_eq!(established.pair.local, "10.0.0.1:40000".parse().unwrap());
    assert_eq!(established.pair.remote, "10.0.0.2:443".parse().unwrap());
    assert_eq!((established.first_sent, established.first_received), (CLIENT_ISN + 1, SERVER_ISN + 1));
    assert_eq!(established.beginning, Beginning::Seen);
    assert_eq!(established.at.0, 1_000_000_001_000);
    assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()));
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin)]);
    let Summary { flows, tcp_packets, packets, midstream_flows, attempts_without_answer, .. } =
        replayed.summary;
    assert_eq!((flows, tcp_packets, packets, midstream_flows, attempts_without_answer), (1, 8, 8, 0, 0));
}

#[test]
fn an_attempt_without_answer_is_counted_once_and_is_no_connection() {
    let syn = || segment(true, -1, 0, SYN, b"");
    for packets in [vec![syn(), syn(), syn()], vec![syn(), segment(false, -1, 0, RST | ACK, b""), syn()]] {
        let replayed = replay_packets(&packets);
        assert!(replayed.events.is_empty(), "{:?}", replayed.events);
        assert_eq!((replayed.summary.attempts_without_answer, replayed.summary.empty_flows), (1, 0));
    }
}

#[test]
fn data_with_the_syn_is_data() {
    let packets = [
        segment(true, -1, 0, SYN, b"early "),
        segment(false, -1, 6, SYN | ACK, b""),
        segment(true, 6, 0, ACK, b"late"),
    ];
    assert_eq!(replay_packets(&packets).said().0, b"early late");
}

#[test]
fn a_reset_ends_a_connection_only_if_its_receiver_would_take_it() {
    let mut packets = opening();
    packets.push(segment(true, 0, 0, ACK, b"hello"));
    packets.push(segment(false, 900_000_000, 0, RST, b""));
    packets.push(segment(false, 0, 5, ACK, b"welcome"));
    packets.push(segment(false, 7, 5, RST, b""));
    packets.push(segment(true, 5, 7, ACK, b"too late"));
    let replayed = replay_packets(&packets);
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Reset)]);
    assert_eq!(replayed.said().1, b"welcome");
    assert_eq!((replayed.summary.resets_ignored, replayed.summary.late_packets), (1, 1));
}

#[test]
fn late_packets_of_a_closed_connection_are_no_new_one() {
    let mut packets = connection();
    packets.push(segment(false, 0, 5, ACK, b"welcome"));
    packets.push(segment(false, 7, 6, FIN | ACK, b""));
    packets.push(segment(true, 6, 8, ACK, b""));
    let replayed = replay_packets(&packets);
    assert_eq!((replayed.summary.flows, replayed.summary.late_packets), (1, 3));
}

#[test]
fn the_same_ports_used_again_are_another_connection() {
    let again = |flags, isn: u32, acknowledged: u32, client: bool| {
        if client {
            ipv4(CLIENT, SERVER, 6, &tcp(CLIENT_PORT, SERVER_PORT, isn, acknowledged, flags, b""))
        } else {
            ipv4(SERVER, CLIENT, 6, &tcp(SERVER_PORT, CLIENT_PORT, isn, acknowledged, flags, b""))
        }
    };
    for (before, reason) in [(connection(), CloseReason::Fin), (opening(), CloseReason::Unknown)] {
        let mut packets = before;
        packets.push(again(SYN, 70_000, 0, true));
        packets.push(again(SYN | ACK, 80_000, 70_001, false));
        let replayed = replay_packets(&packets);
        let established = replayed.established();
        assert_eq!(established.len(), 2);
        assert_eq!((established[1].first_sent, established[1].first_received), (70_001, 80_001));
        assert_ne!(established[0].socket, established[1].socket);
        assert_eq!(replayed.closed()[0].2, reason);
    }
}

#[test]
fn after_both_fins_silence_is_an_end() {
    let mut packets = connection();
    packets.pop();
    assert_eq!(replay_packets(&packets).closed(), [(5, 7, CloseReason::Fin)]);
    let mut half = connection();
    half.truncate(6);
    assert_eq!(replay_packets(&half).closed(), [], "the server may still speak");
}

#[test]
fn bytes_that_the_capture_lost_still_count() {
    let mut packets = opening();
    packets.push(segment(true, 100, 0, ACK, b"end"));
    packets.push(segment(false, 0, 103, ACK, b""));
    packets.push(segment(true, 103, 0, FIN | ACK, b""));
    packets.push(segment(false, 0, 104, FIN | ACK, b""));
    packets.push(segment(true, 104, 1, ACK, b""));
    assert_eq!(replay_packets(&packets).closed(), [(103, 0, CloseReason::Fin)]);
}

#[test]
fn sequence_numbers_wrap() {
    let packet = |client: bool, sequence: u32, acknowledged: u32, flags, payload: &[u8]| {
        let (from, to, ports) =
            if client { (CLIENT, SERVER, (40_000, 443)) } else { (SERVER, CLIENT, (443, 40_000)) };
        ipv4(from, to, 6, &tcp(ports.0, ports.1, sequence, acknowledged, flags, payload))
    };
    let packets = [
        packet(true, u32::MAX - 3, 0, SYN, b""),
        packet(false, u32::MAX, u32::MAX - 2, SYN | ACK, b""),
        packet(true, u32::MAX - 2, 0, ACK, b"hello"),
        packet(true, 2, 0, FIN | ACK, b""),
        packet(false, 0, 3, FIN | ACK, b""),
        packet(true, 3, 1, ACK, b""),
    ];
    let replayed = replay_packets(&packets);
    assert_eq!(replayed.said().0, b"hello");
    assert_eq!(replayed.closed(), [(5, 0, CloseReason::Fin)]);
}

#[test]
fn a_start_in_the_middle_is_said_and_the_hello_tells_the_client() {
    // The client has the lower port here, so the port would mislead.
    let from_client = |payload: &[u8]| ipv4(CLIENT, SERVER, 6, &tcp(443, 40_000, 500, 900, ACK, payload));
    let from_server = |payload: &[u8]| ipv4(SERVER, CLIENT, 6, &tcp(40_000, 443, 900, 500, ACK, payload));
    for packet in [from_client(CLIENT_HELLO), from_server(SERVER_HELLO)] {
        let replayed = replay_packets(&[packet]);
        let [established] = replayed.established()[..] else { panic!("{:?}", replayed.events) };
        assert_eq!(established.beginning, Beginning::Missed);
        assert_eq!(established.pair.local, "10.0.0.1:443".parse().unwrap());
        assert_eq!((established.first_sent, established.first_received), (500, 900));
        assert_eq!(replayed.summary.midstream_flows, 1);
    }
    let replayed = replay_packets(&[from_server(b"anything")]);
    assert_eq!(replayed.established()[0].pair.local, "10.0.0.2:40000".parse().unwrap());
}

#[test]
fn without_payload_a_start_in_the_middle_is_only_counted() {
    let replayed = replay_packets(&[segment(true, 0, 0, ACK, b""), segment(false, 0, 0, FIN | ACK, b"")]);
    assert!(replayed.events.is_empty());
    assert_eq!((replayed.summary.flows, replayed.summary.empty_flows), (0, 1));
}

#[test]
fn an_answer_tells_the_roles_although_the_question_is_missing() {
    let packets = [segment(false, -1, 0, SYN | ACK, b""), segment(false, 0, 0, ACK, b"banner")];
    let established = replay_packets(&packets).established()[0];
    assert_eq!(established.beginning, Beginning::Missed);
    assert_eq!((established.first_sent, established.first_received), (CLIENT_ISN + 1, SERVER_ISN + 1));
    // In a capture of several queues the question can stand behind the answer.
    let packets = [segment(false, -1, 0, SYN | ACK, b""), segment(true, -1, 0, SYN, b"")];
    assert_eq!(replay_packets(&packets).established()[0].beginning, Beginning::Seen);
}

#[test]
fn a_short_snap_length_withholds_the_tail() {
    let file = Pcap { snap: 14 + 20 + 20 + 3, ..Pcap::default() }.write(&on_ethernet(&connection()));
    let replayed = replay(&file);
    assert_eq!(replayed.said(), (b"hel".to_vec(), b"wel".to_vec()));
    let withheld = replayed.events.iter().filter_map(|event| match event {
        Event::Segment(segment) => Some(segment.withheld),
        _ => None,
    });
    assert_eq!(withheld.collect::<Vec<_>>(), [2, 4]);
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin)]);
    assert_eq!(replayed.summary.cut_by_snap_length, 2);
}

#[test]
fn options_that_a_short_snap_length_cuts_do_not_hide_the_connection() {
    // Twelve bytes of options, as most systems send with every packet (timestamps).
    let with_options = |packet: &Vec<u8>| {
        let (header, payload) = packet[20..].split_at(20);
        let mut segment = [header, &[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0], payload].concat();
        segment[12] = 0x80;
        let [source, destination] = [12, 16].map(|at| *packet[at..].first_chunk().unwrap());
        ipv4(source, destination, 6, &segment)
    };
    let packets: Vec<_> = connection().iter().map(with_options).collect();
    for options in [0, 10, 12] {
        let file = Pcap { snap: 14 + 20 + 20 + options, ..Pcap::default() }.write(&on_ethernet(&packets));
        let replayed = replay(&file);
        assert_eq!(replayed.established()[0].beginning, Beginning::Seen);
        assert_eq!(replayed.said(), (Vec::new(), Vec::new()));
        assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin)]);
        assert_eq!(replayed.summary.headers_cut, 0);
    }
    let file = Pcap { snap: 14 + 20 + 19, ..Pcap::default() }.write(&on_ethernet(&packets));
    assert_eq!(replay(&file).summary.headers_cut, 8);
}

#[test]
fn a_budget_can_be_raised_before_the_byte_that_exceeds_it() {
    let mut packets = opening();
    let piece = vec![7; 1000];
    for index in 0..100 {
        packets.push(segment(true, index * 1000, 0, ACK, &piece));
    }
    let file = Temporary::holding(&capture(&packets));
    let run = |raised: u32| {
        let mut source = CaptureSource::open(&[file.input()], CaptureOptions::default()).unwrap();
        let (mut bytes, mut withheld, mut events) = (0, 0, Vec::new());
        let mut more = true;
        while more {
            more = source.drain(&mut |event| events.push(kept(event)));
            for event in events.drain(..) {
                if let Event::Established(established) = &event {
                    let decision = Decision::Budget { sent: raised, received: raised };
                    source.decide(established.socket, decision);
                }
                if let Event::Segment(segment) = &event {
                    bytes += segment.bytes.len();
                    withheld += segment.withheld;
                }
            }
        }
        (bytes, withheld, source.summary().tcp_packets)
    };
    assert_eq!(run(50_500), (50_500, 500, 103));
    assert_eq!(run(1 << 20), (100_000, 0, 103));
}

#[test]
fn a_stopped_flow_is_only_watched_for_its_end() {
    let file = Temporary::holding(&capture(&connection()));
    let mut source = CaptureSource::open(&[file.input()], CaptureOptions::default()).unwrap();
    let mut events = Vec::new();
    while source.drain(&mut |event| events.push(kept(event))) {}
    let Event::Established(established) = &events[0] else { panic!() };
    assert_eq!(source.input_of(established.socket), Some(0));

    let mut again = CaptureSource::open(&[file.input()], CaptureOptions::default()).unwrap();
    // A flow's name is its place in the order of flows: nothing of it is random.
    again.flows.take(
        &packet::TcpPacket {
            network: packet::VirtualNetwork::default(),
            source: packet::Endpoint { address: packet::mapped([10, 0, 0, 1].into()), port: CLIENT_PORT },
            destination: packet::Endpoint {
                address: packet::mapped([10, 0, 0, 2].into()),
                port: SERVER_PORT,
            },
            sequence: CLIENT_ISN,
            acknowledged: 0,
            flags: packet::Flags { syn: true, ..packet::Flags::default() },
            payload: &[],
            missing: 0,
        },
        (Timestamp(1_000_000_000_000), 0),
        &mut again.summary,
        &mut |_| {},
    );
    again.decide(established.socket, Decision::Stop);
    let mut stopped = Vec::new();
    while again.drain(&mut |event| stopped.push(kept(event))) {}
    assert!(matches!(stopped[..], [Event::Established(_), Event::Closed(_)]), "{stopped:?}");
}

#[test]
fn the_table_is_bounded_and_says_whom_it_gave_up() {
    let mut packets = Vec::new();
    for index in 0..table::FLOWS_MAX as u32 + 10 {
        let port = (1 + index % 60_000) as u16;
        let from = [10, 1, (index / 60_000) as u8, 1];
        packets.push(ipv4(from, SERVER, 6, &tcp(port, 443, 5, 9, ACK, b"x")));
    }
    let replayed = replay_packets(&packets);
    assert_eq!(replayed.summary.flows_evicted, 10);
    assert_eq!(replayed.closed().len(), 10);
    assert!(replayed.closed().iter().all(|closed| closed.2 == CloseReason::Unknown));
}
