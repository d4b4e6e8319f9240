//! Damage to capture files: what a full disk, a bad disk, a busy kernel and a slow network do to them.
//!
//! In: the bytes of a pcap or pcapng file and a seed. Out: the bytes of a damaged one, the same for the
//! same seed. Packets are moved as whole records, so a reader gets past the framing and the damage
//! reaches what is behind it; truncation and changed bytes do not respect the framing. Compressed files
//! are not unpacked: only their bytes are damaged.

use std::ops::Range;

/// A way to damage a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// The file ends early, anywhere.
    Truncated,
    /// Bytes anywhere in the file are others, framing and headers included.
    BytesChanged,
    /// Bytes of packets are others; the framing holds.
    PacketsChanged,
    /// Packets are missing.
    Dropped,
    /// Packets occur twice, the second some packets later.
    Doubled,
    /// Packets stand in another order, near their place.
    Shuffled,
}

impl Damage {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Truncated,
        Self::BytesChanged,
        Self::PacketsChanged,
        Self::Dropped,
        Self::Doubled,
        Self::Shuffled,
    ];

    /// Its name, for seeds and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BytesChanged => "bytes_changed",
            Self::PacketsChanged => "packets_changed",
            Self::Dropped => "dropped",
            Self::Doubled => "doubled",
            Self::Shuffled => "shuffled",
        }
    }

    /// The damaged file; `None` if this damage needs packets and none can be told apart.
    #[must_use]
    pub fn inflict(self, capture: &[u8], seed: u64) -> Option<Vec<u8>> {
        let mut chance = Chance::new(seed);
        match self {
            Self::Truncated => {
                let length = chance.below(capture.len().max(1));
                Some(capture.get(..length).unwrap_or_default().to_vec())
            }
            Self::BytesChanged => {
                let mut damaged = capture.to_vec();
                let whole = 0..damaged.len();
                chance.change(&mut damaged, whole);
                Some(damaged)
            }
            Self::PacketsChanged => packets_changed(capture, &mut chance),
            Self::Dropped => {
                rearranged(capture, |packets| packets.retain(|_| !chance.one_in(PACKETS_PER_FAULT)))
            }
            Self::Doubled => rearranged(capture, |packets| doubled(packets, &mut chance)),
            Self::Shuffled => rearranged(capture, |packets| {
                for place in 0..packets.len() {
                    let other = (place + chance.below(SHUFFLE_DISTANCE)).min(packets.len() - 1);
                    packets.swap(place, other);
                }
            }),
        }
    }
}

/// One packet in so many is dropped, doubled or changed: enough to hit most connections of a small
/// capture, few enough to leave most handshakes whole.
const PACKETS_PER_FAULT: usize = 12;
/// One byte in so many is changed.
const BYTES_PER_FAULT: usize = 400;
/// How far from its place a packet is moved: networks reorder within a window, not within a day.
const SHUFFLE_DISTANCE: usize = 6;

/// Numbers that look random and are the same for the same seed (SplitMix64, Steele et al. 2014).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound as u64)).unwrap_or(0)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// Changes some bytes of a range, at least one.
    fn change(&mut self, bytes: &mut [u8], range: Range<usize>) {
        let Some(bytes) = bytes.get_mut(range).filter(|bytes| !bytes.is_empty()) else { return };
        for _ in 0..=bytes.len() / BYTES_PER_FAULT {
            let place = self.below(bytes.len());
            bytes[place] ^= u8::try_from(1 + self.below(255)).unwrap_or(1);
        }
    }
}

/// A piece of a capture file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    bytes: Range<usize>,
    /// Where the packet's own bytes are; `None` for what must stay where it is (headers, interface
    /// descriptions, what could not be read).
    packet: Option<Range<usize>>,
}

fn packets_changed(capture: &[u8], chance: &mut Chance) -> Option<Vec<u8>> {
    let pieces = pieces(capture)?;
    let mut damaged = capture.to_vec();
    for packet in pieces.into_iter().filter_map(|piece| piece.packet) {
        if chance.one_in(PACKETS_PER_FAULT) {
            chance.change(&mut damaged, packet);
        }
    }
    Some(damaged)
}

fn doubled(packets: &mut Vec<Range<usize>>, chance: &mut Chance) {
    for place in (0..packets.len()).rev() {
        if chance.one_in(PACKETS_PER_FAULT) {
            let copy = packets[place].clone();
            let later = (place + 1 + chance.below(SHUFFLE_DISTANCE)).min(packets.len());
            packets.insert(later, copy);
        }
    }
}

/// The file with its packets rearranged between the first and the last of them; blocks that describe
/// interfaces keep their place before all packets.
fn rearranged(capture: &[u8], rearrange: impl FnOnce(&mut Vec<Range<usize>>)) -> Option<Vec<u8>> {
    let pieces = pieces(capture)?;
    let (packets, fixed): (Vec<_>, Vec<_>) = pieces.into_iter().partition(|piece| piece.packet.is_some());
    let mut packets: Vec<Range<usize>> = packets.into_iter().map(|piece| piece.bytes).collect();
    rearrange(&mut packets);
    let order = fixed.into_iter().map(|piece| piece.bytes).chain(packets);
    Some(order.filter_map(|bytes| capture.get(bytes)).flatten().copied().collect())
}

/// The pieces of a pcap or pcapng file, in order; `None` for anything else.
fn pieces(capture: &[u8]) -> Option<Vec<Piece>> {
    match capture.get(..4)? {
        [0x0a, 0x0d, 0x0d, 0x0a] => pcapng_pieces(capture),
        // Microseconds and nanoseconds, little and big endian.
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => Some(pcap_pieces(capture, u32::from_le_bytes)),
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => Some(pcap_pieces(capture, u32::from_be_bytes)),
        _ => None,
    }
}

fn number(capture: &[u8], at: usize, read: fn([u8; 4]) -> u32) -> Option<usize> {
    let bytes = capture.get(at..)?.first_chunk::<4>()?;
    usize::try_from(read(*bytes)).ok()
}

/// A 24-byte header, then packets of 16 bytes of header (the captured length is the third word) and data.
fn pcap_pieces(capture: &[u8], read: fn([u8; 4]) -> u32) -> Vec<Piece> {
    let header = 24.min(capture.len());
    let mut pieces = vec![Piece { bytes: 0..header, packet: None }];
    let mut at = header;
    while let Some(length) = number(capture, at + 8, read) {
        let start = at + 16;
        let Some(end) = start.checked_add(length).filter(|end| *end <= capture.len()) else { break };
        pieces.push(Piece { bytes: at..end, packet: Some(start..end) });
        at = end;
    }
    pieces.push(Piece { bytes: at..capture.len(), packet: None });
    pieces
}

/// Blocks: type, length, body, length again; the section header tells the byte order.
fn pcapng_pieces(capture: &[u8]) -> Option<Vec<Piece>> {
    /// Enhanced packet block: 20 bytes (interface, time, two lengths) before the data.
    const ENHANCED: usize = 6;
    /// Simple packet block: 4 bytes (length) before the data.
    const SIMPLE: usize = 3;
    let read: fn([u8; 4]) -> u32 = match capture.get(8..12)? {
        [0x4d, 0x3c, 0x2b, 0x1a] => u32::from_le_bytes,
        [0x1a, 0x2b, 0x3c, 0x4d] => u32::from_be_bytes,
        _ => return None,
    };
    let mut pieces = Vec::new();
    let mut at = 0;
    while let (Some(kind), Some(length)) = (number(capture, at, read), number(capture, at + 4, read)) {
        let end = at.checked_add(length).filter(|end| length >= 12 && *end <= capture.len());
        let Some(end) = end else { break };
        let before_data = match kind {
            ENHANCED => Some(28),
            SIMPLE => Some(12),
            _ => None,
        };
        let packet = before_data.map(|before| (at + before).min(end - 4)..end - 4);
        pieces.push(Piece { bytes: at..end, packet });
        at = end;
    }
    pieces.push(Piece { bytes: at..capture.len(), packet: None });
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture of packets of one, two, three … bytes.
    fn pcap(count: u8) -> Vec<u8> {
        let mut capture = vec![0xd4, 0xc3, 0xb2, 0xa1];
        capture.resize(24, 0);
        for length in 1..=count {
            capture.extend([0; 8]);
            capture.extend(u32::from(length).to_le_bytes());
            capture.extend(u32::from(length).to_le_bytes());
            capture.extend(vec![length; length.into()]);
        }
        capture
    }

    fn packet_lengths(capture: &[u8]) -> Vec<usize> {
        let pieces = pieces(capture).expect("a capture");
        pieces.into_iter().filter_map(|piece| piece.packet).map(|packet| packet.len()).collect()
    }

    #[test]
    fn tells_packets_apart() {
        assert_eq!(packet_lengths(&pcap(5)), [1, 2, 3, 4, 5]);
        assert_eq!(packet_lengths(&pcap(5)[..90]), [1, 2, 3], "a cut-off packet is none");
    }

    #[test]
    fn tells_blocks_apart() {
        let mut capture = vec![0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a];
        capture.resize(28, 0);
        capture.extend([6, 0, 0, 0, 36, 0, 0, 0]);
        capture.resize(28 + 36, 0);
        assert_eq!(packet_lengths(&capture), [4]);
    }

    #[test]
    fn the_same_seed_does_the_same_damage_and_another_seed_another() {
        let capture = pcap(100);
        for damage in Damage::ALL {
            let first = damage.inflict(&capture, 1);
            assert!(first.is_some(), "{damage:?}");
            assert_eq!(first, damage.inflict(&capture, 1), "{damage:?}");
            assert_ne!(first, damage.inflict(&capture, 2), "{damage:?}");
            assert_ne!(first.as_ref(), Some(&capture), "{damage:?} does nothing");
        }
    }

    #[test]
    fn each_damage_does_what_it_says() {
        let capture = pcap(100);
        let lengths = |damage: Damage| packet_lengths(&damage.inflict(&capture, 7).expect("damage"));
        assert!(lengths(Damage::Dropped).len() < 100);
        assert!(lengths(Damage::Doubled).len() > 100);
        let mut shuffled = lengths(Damage::Shuffled);
        assert_eq!(shuffled.len(), 100);
        assert!(!shuffled.is_sorted());
        shuffled.sort_unstable();
        assert_eq!(shuffled, (1..=100).collect::<Vec<_>>());
        assert_eq!(lengths(Damage::PacketsChanged), (1..=100).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_capture_has_its_bytes_damaged_only() {
        assert!(Damage::Truncated.inflict(b"", 1).is_some());
        assert!(Damage::BytesChanged.inflict(b"\x1f\x8b compressed", 1).is_some());
        assert!(Damage::Dropped.inflict(b"\x1f\x8b compressed", 1).is_none());
    }
}
