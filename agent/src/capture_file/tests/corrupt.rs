//! Truncated and changed captures: no panic, no hang, and what could be read is read.

use super::build::*;
use super::*;

/// One of each: classic, blocks, tunnels, fragments.
fn captures() -> Vec<Vec<u8>> {
    let classic = capture(&connection());
    let mut blocks = [section(false), interface(false, 1, &[9, 0, 1, 0, 9, 0, 0, 0])].concat();
    for (index, packet) in on_ethernet(&connection()).iter().enumerate() {
        blocks.extend(enhanced(false, 0, index as u64, packet));
        blocks.extend(simple(packet));
        blocks.extend(obsolete(0, index as u64, packet));
    }
    let wrapped: Vec<Vec<u8>> = connection()
        .iter()
        .flat_map(|packet| {
            let outer = |protocol, payload: &[u8]| ipv4([192, 0, 2, 1], [192, 0, 2, 2], protocol, payload);
            let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &ethernet(0x0800, packet)].concat();
            let geneve = [&[1, 0, 8, 0, 0, 0, 7, 0, 1, 2, 3, 0][..], packet].concat();
            [
                outer(47, &[&[0, 0, 8, 0], &packet[..]].concat()),
                outer(17, &udp(1, 4789, &vxlan)),
                outer(17, &udp(1, 6081, &geneve)),
                fragment_v4(CLIENT, SERVER, 6, (1, 0x2000), &packet[20..36]),
                fragment_v4(CLIENT, SERVER, 6, (1, 2), &packet[36..]),
                ipv6(
                    1,
                    2,
                    0,
                    &[&[44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1][..], &packet[20..]].concat(),
                ),
            ]
        })
        .collect();
    let tunnels = Pcap { link: 101, ..Pcap::default() }.write(&wrapped);
    vec![classic, blocks, tunnels]
}

/// A small generator (xorshift), seeded: the same changes on every run.
struct Changes(u64);

impl Changes {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn every_truncation_keeps_what_came_before() {
    let classic = captures().remove(0);
    let whole = replay(&classic);
    // Where a packet ends: the file's header, then each packet with its own.
    let mut ends = vec![24];
    for packet in on_ethernet(&connection()) {
        ends.push(ends[ends.len() - 1] + 16 + packet.len());
    }
    for file in captures() {
        for end in 0..file.len() {
            match try_replay(&[&file[..end]]) {
                Ok(replayed) => {
                    assert!(replayed.summary.problems.len() <= 1);
                    if file == classic {
                        assert!(whole.said().0.starts_with(&replayed.said().0));
                        let between = ends.contains(&end);
                        let expected = if between { vec![] } else { vec![ProblemKind::Truncated] };
                        assert_eq!(replayed.problems(), expected, "{end}");
                    }
                }
                Err(error) => assert!(end < 4, "{end}: {error}"),
            }
        }
    }
}

#[test]
fn changed_bytes_do_no_harm() {
    let mut changes = Changes(0x5eed_cafe_f00d);
    for file in captures() {
        for _ in 0..500 {
            let mut changed = file.clone();
            for _ in 0..=changes.next(6) {
                let at = changes.next(changed.len());
                changed[at] = changes.next(256) as u8;
            }
            // Any answer will do, but one there must be.
            if let Ok(replayed) = try_replay(&[&changed]) {
                assert!(replayed.summary.packets < 1000);
            }
        }
    }
}

#[test]
fn a_packet_longer_than_any_is_damage_not_memory() {
    let mut file = capture(&connection());
    file[24 + 8..24 + 12].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    assert_eq!(replay(&file).problems(), [ProblemKind::Damaged("a packet of an impossible length")]);
    let huge =
        [section(false), interface(false, 1, &[]), vec![6, 0, 0, 0, 0xfc, 0xff, 0xff, 0x7f, 0, 0, 0, 0]]
            .concat();
    assert_eq!(replay(&huge).problems(), [ProblemKind::Damaged("a packet of an impossible length")]);
}
