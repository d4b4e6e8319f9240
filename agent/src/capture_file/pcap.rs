//! The classic format: a header, then packets (draft-ietf-opsawg-pcap).

use pcap_parser::{
    LegacyPcapBlock, PcapError, PcapHeader, nom::IResult, parse_pcap_frame, parse_pcap_frame_be,
    parse_pcap_frame_modified, parse_pcap_header,
};

use super::error::ProblemKind;
use super::reader::{Head, Next};
use super::window::{PIECE_MAX, Window};

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// With the interface index and protocol that a patched libpcap of the 1990s added.
const PACKET_HEADER_MODIFIED: usize = 24;
/// Where the number of captured bytes stands in a packet's header.
const CAPTURED_AT: usize = 8;
/// The upper bits of the link type say how long the frame check sequence is.
const LINK_TYPE_MASK: i32 = 0xffff;

type Parse = fn(&[u8]) -> IResult<&[u8], LegacyPcapBlock<'_>, PcapError<&[u8]>>;

/// How to read on.
pub struct Pcap {
    header: Option<Layout>,
}

#[derive(Clone, Copy)]
struct Layout {
    parse: Parse,
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
                && bytes.len() - layout.packet_header >= layout.captured(bytes)
        })
    }

    /// The next packet.
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
        let captured = layout.captured(window.data());
        if captured > PIECE_MAX - layout.packet_header {
            return Next::Problem(ProblemKind::Damaged("a packet of an impossible length"));
        }
        if !window.need(layout.packet_header + captured) {
            return Next::Problem(ProblemKind::Truncated);
        }
        match (layout.parse)(window.data()) {
            Ok((_, packet)) => Next::Packet(Head {
                at: u64::from(packet.ts_sec)
                    .saturating_mul(1_000_000_000)
                    .saturating_add(u64::from(packet.ts_usec).saturating_mul(layout.unit)),
                link: layout.link,
                begin: layout.packet_header,
                captured,
                original: (packet.origlen as usize).max(captured),
                consumed: layout.packet_header + captured,
            }),
            Err(_) => Next::Problem(ProblemKind::Damaged("a packet's header")),
        }
    }
}

impl Layout {
    fn captured(&self, packet: &[u8]) -> usize {
        let field = packet.get(CAPTURED_AT..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        let captured = if self.big_endian { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) };
        captured as usize
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
    let (parse, packet_header): (Parse, usize) = match (header.is_modified_format(), header.is_bigendian()) {
        (true, _) => (parse_pcap_frame_modified, PACKET_HEADER_MODIFIED),
        (false, true) => (parse_pcap_frame_be, PACKET_HEADER),
        (false, false) => (parse_pcap_frame, PACKET_HEADER),
    };
    Layout {
        parse,
        packet_header,
        big_endian: header.is_bigendian(),
        link: (header.network.0 & LINK_TYPE_MASK).cast_unsigned(),
        unit: if header.is_nanosecond_precision() { 1 } else { 1000 },
    }
}
