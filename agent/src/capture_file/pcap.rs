//! The classic format: a header, then packets (draft-ietf-opsawg-pcap).

use pcap_parser::{PcapHeader, parse_pcap_header};

use super::error::ProblemKind;
use super::reader::{Head, Next};
use super::window::{PIECE_MAX, Window};

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// With the interface index and protocol that a patched libpcap of the 1990s added.
const PACKET_HEADER_MODIFIED: usize = 24;
/// The upper bits of the link type say how long the frame check sequence is.
const LINK_TYPE_MASK: i32 = 0xffff;

/// How to read on.
pub struct Pcap {
    header: Option<Layout>,
}

#[derive(Clone, Copy)]
struct Layout {
    packet_header: usize,
    big_endian: bool,
    link: u32,
    /// Nanoseconds per unit of the second time field.
    unit: u64,
}

impl Pcap {
    /// If a file that begins so is one.
    pub fn of(magic: &[u8]) -> Option<Self> {
        let magic = u32::from_le_bytes(*magic.first_chunk()?);
        matches!(magic, 0xa1b2_c3d4 | 0xa1b2_3c4d | 0xa1b2_cd34 | 0xd4c3_b2a1 | 0x4d3c_b2a1)
            .then_some(Pcap { header: None })
    }

    /// Bytes that follow a packet are another whole one.
    pub fn is_whole(&self, bytes: &[u8]) -> bool {
        self.header.is_some_and(|layout| {
            bytes.len() >= layout.packet_header
                && bytes.len() - layout.packet_header >= layout.fields(bytes).captured
        })
    }

    /// The next packet.
    #[inline]
    pub fn next(&mut self, window: &mut Window) -> Next {
        let layout = match self.header {
            Some(layout) => layout,
            None => match read_header(window) {
                Ok(layout) => *self.header.insert(layout),
                Err(kind) => return Next::Problem(kind),
            },
        };
        if !window.need(layout.packet_header) {
            return if window.data().is_empty() { Next::End } else { Next::Problem(ProblemKind::Truncated) };
        }
        let Fields { seconds, fraction, captured, original } = layout.fields(window.data());
        if captured > PIECE_MAX - layout.packet_header {
            return Next::Problem(ProblemKind::Damaged("a packet of an impossible length"));
        }
        if !window.need(layout.packet_header + captured) {
            return Next::Problem(ProblemKind::Truncated);
        }
        Next::Packet(Head {
            at: seconds.saturating_mul(1_000_000_000).saturating_add(fraction.saturating_mul(layout.unit)),
            link: layout.link,
            begin: layout.packet_header,
            captured,
            original: original.max(captured),
            consumed: layout.packet_header + captured,
        })
    }
}

/// What all packet headers begin with.
#[derive(Default)]
struct Fields {
    seconds: u64,
    /// In the unit of the file.
    fraction: u64,
    captured: usize,
    original: usize,
}

impl Layout {
    /// Reads a packet's header; nothing but zeros of one that is cut.
    #[inline]
    fn fields(&self, packet: &[u8]) -> Fields {
        let Some((words, _)) = packet.split_first_chunk::<PACKET_HEADER>() else { return Fields::default() };
        let &[s0, s1, s2, s3, f0, f1, f2, f3, c0, c1, c2, c3, o0, o1, o2, o3] = words;
        let word =
            |bytes| if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        Fields {
            seconds: word([s0, s1, s2, s3]).into(),
            fraction: word([f0, f1, f2, f3]).into(),
            captured: word([c0, c1, c2, c3]) as usize,
            original: word([o0, o1, o2, o3]) as usize,
        }
    }
}

fn read_header(window: &mut Window) -> Result<Layout, ProblemKind> {
    if !window.need(FILE_HEADER) {
        return Err(ProblemKind::Truncated);
    }
    let Ok((_, header)) = parse_pcap_header(window.data()) else {
        return Err(ProblemKind::Damaged("the file's header"));
    };
    let layout = layout(&header);
    window.consume(FILE_HEADER);
    Ok(layout)
}

fn layout(header: &PcapHeader) -> Layout {
    let packet_header = if header.is_modified_format() { PACKET_HEADER_MODIFIED } else { PACKET_HEADER };
    Layout {
        packet_header,
        big_endian: header.is_bigendian(),
        link: (header.network.0 & LINK_TYPE_MASK).cast_unsigned(),
        unit: if header.is_nanosecond_precision() { 1 } else { 1000 },
    }
}
