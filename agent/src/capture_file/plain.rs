//! The plain case: an Ethernet frame without tags, an IP header without options, and a whole TCP packet right behind it.
//!
//! Nearly all packets are like that, and this costs a third of what a library needs that is ready for everything. What is any
//! different is left to the library; a test holds both against each other.

use super::packet::{Endpoint, Flags, TcpPacket, VirtualNetwork};

/// LINKTYPE_ETHERNET of tcpdump.org's registry.
const ETHERNET: u32 = 1;
const TCP: u8 = 6;
/// Of the flags beside the fragment's offset only "don't fragment" may be set.
const DO_NOT_FRAGMENT: u8 = 0x40;

/// The TCP packet that a frame of a link type carries; `None` if the library is to look.
#[inline]
pub fn frame(link: u32, frame: &[u8]) -> Option<TcpPacket<'_>> {
    let (header, packet) = frame.split_first_chunk::<14>()?;
    let kind = u16::from_be_bytes([header[12], header[13]]);
    // Which of the two IP is, its header says.
    (link == ETHERNET && matches!(kind, 0x0800 | 0x86dd)).then(|| tcp(packet, VirtualNetwork::default()))?
}

/// The TCP packet that an IP packet carries, with whatever padding follows it; `None` if the library is to look.
#[inline]
pub fn tcp(packet: &[u8], network: VirtualNetwork) -> Option<TcpPacket<'_>> {
    let (source, destination, segment) = match packet.first()? {
        0x45 => four(packet)?,
        0x60..=0x6f => six(packet)?,
        _ => return None,
    };
    let &[p0, p1, q0, q1, s0, s1, s2, s3, a0, a1, a2, a3, length, flags, ..] = segment.first_chunk::<20>()?;
    let length = usize::from(length >> 4) * 4;
    if length < 20 {
        return None;
    }
    Some(TcpPacket {
        network,
        source: Endpoint { address: source, port: u16::from_be_bytes([p0, p1]) },
        destination: Endpoint { address: destination, port: u16::from_be_bytes([q0, q1]) },
        sequence: u32::from_be_bytes([s0, s1, s2, s3]),
        acknowledged: u32::from_be_bytes([a0, a1, a2, a3]),
        flags: Flags::of(flags),
        payload: segment.get(length..)?,
        missing: 0,
    })
}

/// RFC 791 section 3.1.
fn four(packet: &[u8]) -> Option<(u128, u128, &[u8])> {
    let &[_, _, l0, l1, _, _, fragment, 0, _, TCP, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        packet.first_chunk::<20>()?
    else {
        return None;
    };
    let segment = packet.get(20..usize::from(u16::from_be_bytes([l0, l1])))?;
    // As `mapped` has them.
    let address = |bytes| 0xffff_0000_0000 | u128::from(u32::from_be_bytes(bytes));
    (fragment & !DO_NOT_FRAGMENT == 0).then_some((
        address([s0, s1, s2, s3]),
        address([d0, d1, d2, d3]),
        segment,
    ))
}

/// RFC 8200 section 3.
fn six(packet: &[u8]) -> Option<(u128, u128, &[u8])> {
    let (&[_, _, _, _, l0, l1, TCP, _], rest) = packet.split_first_chunk()? else { return None };
    let (source, rest) = rest.split_first_chunk()?;
    let (destination, rest) = rest.split_first_chunk()?;
    let segment = rest.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
    Some((u128::from_be_bytes(*source), u128::from_be_bytes(*destination), segment))
}

#[cfg(test)]
mod tests {
    use super::super::tests::build::{ACK, FIN, SYN, ipv4, ipv6, tcp as segment};
    use super::*;
    use crate::capture_file::network::{Context, Network};
    use crate::capture_file::packet::Transport;
    use crate::capture_file::summary::Summary;

    /// Holds both readings of a packet against each other; whether it is a plain one.
    fn compare(packet: &[u8]) -> bool {
        let Some(plain) = tcp(packet, VirtualNetwork::default()) else { return false };
        let (mut summary, mut seen) = (Summary::default(), 0);
        let context = Context { at: 0, cut: 0 };
        Network::default().by_library(packet, context, &mut summary, &mut |library, _| {
            seen += 1;
            match library {
                Transport::Tcp(library) => assert_eq!(plain, *library, "{packet:x?}"),
                Transport::Udp(_) => panic!("it is UDP: {packet:x?}"),
            }
        });
        assert_eq!((seen, summary), (1, Summary::default()), "{packet:x?}");
        true
    }

    #[test]
    fn only_a_frame_that_says_so_holds_a_plain_packet() {
        let packet = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 6, &segment(40_000, 443, 7, 8, ACK, b"payload"));
        for kind in 0..=u16::MAX {
            let bytes = [&[2; 12][..], &kind.to_be_bytes(), &packet].concat();
            let expected =
                tcp(&packet, VirtualNetwork::default()).filter(|_| [0x0800, 0x86dd].contains(&kind));
            assert_eq!(frame(ETHERNET, &bytes), expected, "{kind:x}");
            assert_eq!(frame(ETHERNET + 100, &bytes), None);
        }
        assert_eq!(frame(ETHERNET, &[2; 13]), None);
    }

    #[test]
    fn a_plain_packet_is_read_as_the_library_reads_it_whatever_its_bytes_are() {
        let with_options = [
            &segment(40_000, 443, 7, 8, SYN, b"")[..12],
            &[0x70, SYN, 0, 9, 0, 0, 0, 0, 1, 1, 1, 1, 2, 4, 5, 0xb4, b'x'],
        ]
        .concat();
        let mut plain = 0;
        for segment in [segment(40_000, 443, u32::MAX, 9, ACK | FIN, b"payload"), with_options] {
            let four = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 6, &segment);
            for mut packet in [four, ipv6(1, 2, 6, &segment)] {
                assert!(compare(&packet));
                for length in 0..packet.len() {
                    assert!(!compare(&packet[..length]), "a part of it is not plain");
                }
                packet.extend([0; 6]);
                assert!(compare(&packet), "padding changes nothing");
                for index in 0..packet.len() {
                    for value in 0..=255 {
                        let before = std::mem::replace(&mut packet[index], value);
                        plain += u32::from(compare(&packet));
                        packet[index] = before;
                    }
                }
            }
        }
        assert!(plain > 30_000, "{plain}");
    }
}
