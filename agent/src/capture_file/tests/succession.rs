//! Which packets are of the same connection, when clocks and addresses alone do not tell.

use super::build::*;
use super::*;
use crate::event::Beginning;

const DAY: u32 = 86_400;

/// A file in which each packet has a time of its own, in seconds.
fn capture_at(packets: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut file = Pcap::default().write(&[]);
    for (second, packet) in packets {
        let one =
            Pcap { begin: *second, ..Pcap::default() }.write(&on_ethernet(std::slice::from_ref(packet)));
        file.extend(&one[24..]);
    }
    file
}

fn all_at(second: u32, packets: Vec<Vec<u8>>) -> Vec<(u32, Vec<u8>)> {
    packets.into_iter().map(|packet| (second, packet)).collect()
}

/// A packet of others, which only moves the clock.
fn bystander() -> Vec<u8> {
    ipv4([10, 9, 9, 1], [10, 9, 9, 2], 17, &udp(1, 2, b""))
}

fn syn(isn: u32) -> Vec<u8> {
    ipv4(CLIENT, SERVER, 6, &tcp(CLIENT_PORT, SERVER_PORT, isn, 0, SYN, b""))
}

/// Else one connection is reported twice, under one id.
#[test]
fn a_copy_behind_a_packet_of_another_time_is_no_new_connection() {
    for copied in 0..connection().len() {
        let mut packets = all_at(1_000, connection());
        packets.push((DAY, bystander()));
        packets.push((1_000, connection()[copied].clone()));
        let replayed = replay(&capture_at(&packets));
        assert_eq!((replayed.summary.flows, replayed.summary.midstream_flows), (1, 0), "{copied}");
        assert_eq!((replayed.summary.late_packets, replayed.summary.empty_flows), (1, 0), "{copied}");
        assert_eq!(replayed.summary.attempts_without_answer, 0, "{copied}");
    }
}

/// Without the last acknowledgement it is the other time that ends the connection.
#[test]
fn a_copy_is_late_although_its_connection_was_ended_by_another_time() {
    let mut packets = all_at(DAY, connection());
    packets.pop();
    packets.push((10 * DAY, bystander()));
    packets.push((DAY, connection()[3].clone()));
    let replayed = replay(&capture_at(&packets));
    assert_eq!((replayed.summary.flows, replayed.summary.late_packets), (1, 1));
}

/// Two captures that were written into one file packet by packet, or a clock that was set: else the beginning is lost and
/// with it who asked whom.
#[test]
fn a_packet_of_another_time_takes_no_beginning_away() {
    for place in 1..connection().len() {
        for other in [10, 10 * DAY] {
            let mut packets = all_at(DAY, connection());
            packets.insert(place, (other, bystander()));
            let replayed = replay(&capture_at(&packets));
            assert_eq!(replayed.established().len(), 1, "{place}");
            assert_eq!(replayed.established()[0].beginning, Beginning::Seen, "{place}");
            assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()), "{place}");
            assert_eq!((replayed.summary.flows, replayed.summary.attempts_without_answer), (1, 0), "{place}");
        }
    }
}

/// An interface with a wrong resolution: the answer is decades after its question, but it answers it.
#[test]
fn an_answer_with_a_wrong_time_is_still_the_answer() {
    let mut packets = all_at(1_000, connection());
    packets[1].0 = 20_000 * DAY;
    let replayed = replay(&capture_at(&packets));
    assert_eq!((replayed.summary.flows, replayed.summary.midstream_flows), (1, 0));
    assert_eq!((replayed.summary.attempts_without_answer, replayed.summary.empty_flows), (0, 0));
}

/// A connection that only keeps itself alive is one, however slowly it does.
#[test]
fn a_silent_connection_is_counted_once() {
    let packets: Vec<_> = (0..5).map(|turn| (1_000 + turn * 600, segment(true, -1, 0, ACK, b""))).collect();
    assert_eq!(replay(&capture_at(&packets)).summary.empty_flows, 1);
}

#[test]
fn the_same_numbers_long_after_the_end_are_another_connection() {
    let mut packets = all_at(1_000, connection());
    packets.extend(all_at(1_000 + DAY, connection()));
    let replayed = replay(&capture_at(&packets));
    assert_eq!((replayed.summary.flows, replayed.summary.late_packets), (2, 0));
    // Another capture of the same machines, from before, behind it in the same file.
    let mut packets = all_at(DAY, connection());
    packets.extend(all_at(1_000, connection()));
    assert_eq!(replay(&capture_at(&packets)).summary.flows, 2);
}

#[test]
fn a_capture_that_stands_twice_in_a_file_tells_its_connections_once() {
    let mut once = all_at(1_000, connection());
    // Longer than late packets are expected.
    once[4..].iter_mut().for_each(|(second, _)| *second = 2_000);
    let packets = [once.clone(), once].concat();
    let replayed = replay(&capture_at(&packets));
    assert_eq!((replayed.summary.flows, replayed.summary.late_packets), (1, 8));
}

#[test]
fn an_attempt_is_not_continued_by_another_one() {
    for second in [1_010, 1_000 + DAY] {
        let replayed = replay(&capture_at(&[(1_000, syn(7)), (second, syn(8_000_000))]));
        assert_eq!(replayed.summary.attempts_without_answer, 2);
    }
    // What comes much later and does not follow is of a connection whose beginning is missing.
    let replayed = replay(&capture_at(&[(1_000, syn(8_000_000)), (DAY, segment(true, 0, 0, ACK, b"hello"))]));
    assert_eq!((replayed.summary.midstream_flows, replayed.summary.attempts_without_answer), (1, 1));
    // The same question again is no other attempt.
    let replayed = replay(&capture_at(&[(1_000, syn(7)), (DAY, syn(7))]));
    assert_eq!(replayed.summary.attempts_without_answer, 1);
}

#[test]
fn a_lone_reset_is_no_connection_but_counted() {
    let replayed = replay(&capture_at(&[(1_000, segment(false, 0, 0, RST | ACK, b""))]));
    assert!(replayed.events.is_empty());
    assert_eq!((replayed.summary.empty_flows, replayed.summary.stray_packets), (0, 1));
}

/// Many attempts without answer do not make the end of a connection be forgotten while they are fresh, and go first later.
#[test]
fn attempts_that_will_not_be_answered_are_given_up_first() {
    let mut packets: Vec<_> = (0..table::FLOWS_MAX as u32 - 1)
        .map(|index| {
            let from = [10, 1, (index / 60_000) as u8, 1];
            (1_000, ipv4(from, SERVER, 6, &tcp((1 + index % 60_000) as u16, 443, 5, 0, SYN, b"")))
        })
        .collect();
    packets.extend(all_at(1_200, connection()));
    packets.push((1_201, ipv4([10, 2, 0, 1], SERVER, 6, &tcp(9, 443, 5, 0, SYN, b""))));
    packets.push((1_202, connection().remove(3)));
    let replayed = replay(&capture_at(&packets));
    assert_eq!((replayed.summary.flows, replayed.summary.late_packets), (1, 1));
}
