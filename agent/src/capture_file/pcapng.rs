//! The block format: sections of interfaces and packets (draft-ietf-opsawg-pcapng).

use pcap_parser::pcapng::{OptionCode, PcapNGOption};
use pcap_parser::{Block, parse_block_be, parse_block_le};

use super::error::ProblemKind;
use super::reader::{Head, Next};
use super::window::{PIECE_MAX, Window};

const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// The byte-order magic of a section header as a little-endian file has it.
const LITTLE_ENDIAN: [u8; 4] = [0x4d, 0x3c, 0x2b, 0x1a];
/// And as a big-endian file has it.
const BIG_ENDIAN: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];
/// Type, length, length again.
const BLOCK_MIN: usize = 12;
/// Interface description, the packet block that was replaced in 2004, the simple and the enhanced one.
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
/// Most interfaces per section: more than a host has; a file with more has been damaged.
const INTERFACES_MAX: usize = 4096;
/// Where the bytes of a packet begin in an enhanced and in an obsolete packet block.
const PACKET_AT: usize = 28;
/// And in a simple one.
const SIMPLE_PACKET_AT: usize = 12;
const NANOSECONDS: u64 = 1_000_000_000;

/// How to read on.
#[derive(Default)]
pub struct PcapNg {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Of the last packet: a simple packet block has no time.
    last: u64,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    snap_length: u32,
    /// Units per second.
    resolution: Resolution,
    /// Seconds to be added.
    offset: i64,
}

#[derive(Clone, Copy)]
enum Resolution {
    /// So many nanoseconds.
    Whole(u64),
    /// So many units per second.
    PerSecond(u128),
}

impl PcapNg {
    /// Whether a file that begins so is one.
    pub fn begins(magic: &[u8]) -> bool {
        magic == SECTION_HEADER
    }

    /// The next packet.
    pub fn next(&mut self, window: &mut Window) -> Next {
        loop {
            if !window.need(BLOCK_MIN) {
                return if window.data().is_empty() {
                    Next::End
                } else {
                    Next::Problem(ProblemKind::Truncated)
                };
            }
            if let Err(what) = self.see_byte_order(window.data()) {
                return Next::Problem(ProblemKind::Damaged(what));
            }
            let kind = self.field(window.data(), 0);
            let length = self.field(window.data(), 4) as usize;
            if length < BLOCK_MIN || !length.is_multiple_of(4) {
                return Next::Problem(ProblemKind::Damaged("a block of an impossible length"));
            }
            if length > PIECE_MAX {
                if matches!(kind, INTERFACE | OBSOLETE_PACKET | ENHANCED_PACKET) {
                    return Next::Problem(ProblemKind::Damaged("a packet of an impossible length"));
                }
                if !window.skip(length as u64) {
                    return Next::Problem(ProblemKind::Truncated);
                }
                continue;
            }
            if !window.need(length) {
                return Next::Problem(ProblemKind::Truncated);
            }
            match self.block(window.data(), length) {
                Ok(Some(head)) => {
                    self.last = head.at;
                    return Next::Packet(head);
                }
                Ok(None) => window.consume(length),
                Err(what) => {
                    window.consume(length);
                    return Next::Problem(ProblemKind::Skipped(what));
                }
            }
        }
    }

    /// Bytes that follow a packet hold another whole one.
    pub fn is_whole(&self, mut bytes: &[u8]) -> bool {
        while bytes.len() >= BLOCK_MIN && !bytes.starts_with(&SECTION_HEADER) {
            let length = self.field(bytes, 4) as usize;
            let Some(rest) = bytes.get(length.max(BLOCK_MIN)..) else { return false };
            if matches!(self.field(bytes, 0), OBSOLETE_PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
                return true;
            }
            bytes = rest;
        }
        false
    }

    fn see_byte_order(&mut self, block: &[u8]) -> Result<(), &'static str> {
        if block.starts_with(&SECTION_HEADER) {
            match block.get(8..12) {
                Some(magic) if magic == LITTLE_ENDIAN => self.big_endian = false,
                Some(magic) if magic == BIG_ENDIAN => self.big_endian = true,
                _ => return Err("a section without byte order"),
            }
        }
        Ok(())
    }

    fn field(&self, block: &[u8], at: usize) -> u32 {
        let field = block.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        if self.big_endian { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) }
    }

    /// The option if_tsoffset. (The library's own reading takes every section for a little-endian one.)
    fn offset(&self, options: &[PcapNGOption<'_>]) -> i64 {
        let option = options.iter().rfind(|option| option.code == OptionCode::IfTsoffset);
        let bytes = option.and_then(|option| option.value.first_chunk()).copied().unwrap_or_default();
        if self.big_endian { i64::from_be_bytes(bytes) } else { i64::from_le_bytes(bytes) }
    }

    fn block(&mut self, data: &[u8], length: usize) -> Result<Option<Head>, &'static str> {
        let data = data.get(..length).unwrap_or_default();
        let parse = if self.big_endian { parse_block_be } else { parse_block_le };
        let Ok((_, block)) = parse(data) else { return Err("a block that contradicts itself") };
        match block {
            Block::SectionHeader(_) => {
                self.interfaces.clear();
                Ok(None)
            }
            Block::InterfaceDescription(interface) => {
                if self.interfaces.len() >= INTERFACES_MAX {
                    return Err("too many interfaces");
                }
                self.interfaces.push(Interface {
                    link: (interface.linktype.0 & 0xffff).cast_unsigned(),
                    snap_length: interface.snaplen,
                    resolution: resolution(interface.if_tsresol),
                    offset: self.offset(&interface.options),
                });
                Ok(None)
            }
            Block::EnhancedPacket(packet) => {
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                self.packet(packet.if_id, ticks, packet.caplen, packet.origlen, length)
            }
            Block::SimplePacket(packet) => {
                let interface = self.interfaces.first().ok_or("a packet of an unknown interface")?;
                let limit = if interface.snap_length == 0 { u32::MAX } else { interface.snap_length };
                let captured = packet.data.len().min(packet.origlen.min(limit) as usize);
                Ok(Some(Head {
                    at: self.last,
                    link: interface.link,
                    begin: SIMPLE_PACKET_AT,
                    captured,
                    original: (packet.origlen as usize).max(captured),
                    consumed: length,
                }))
            }
            Block::Unknown(_) if self.field(data, 0) == OBSOLETE_PACKET => {
                // The interface is 16 bits wide, followed by a count of drops (appendix A of the draft).
                let both = data.get(8..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
                let interface =
                    if self.big_endian { u16::from_be_bytes(both) } else { u16::from_le_bytes(both) };
                let ticks = u64::from(self.field(data, 12)) << 32 | u64::from(self.field(data, 16));
                self.packet(interface.into(), ticks, self.field(data, 20), self.field(data, 24), length)
            }
            _ => Ok(None),
        }
    }

    fn packet(
        &self,
        interface: u32,
        ticks: u64,
        captured: u32,
        original: u32,
        length: usize,
    ) -> Result<Option<Head>, &'static str> {
        let interface = self.interfaces.get(interface as usize).ok_or("a packet of an unknown interface")?;
        let captured = captured as usize;
        if captured > length.saturating_sub(PACKET_AT + 4) {
            return Err("a packet longer than its block");
        }
        Ok(Some(Head {
            at: interface.time(ticks),
            link: interface.link,
            begin: PACKET_AT,
            captured,
            original: (original as usize).max(captured),
            consumed: length,
        }))
    }
}

impl Interface {
    /// Nanoseconds since the epoch.
    fn time(&self, ticks: u64) -> u64 {
        let since = match self.resolution {
            Resolution::Whole(nanoseconds) => ticks.saturating_mul(nanoseconds),
            Resolution::PerSecond(units) => {
                u64::try_from(u128::from(ticks) * u128::from(NANOSECONDS) / units).unwrap_or(u64::MAX)
            }
        };
        let offset = self.offset.unsigned_abs().saturating_mul(NANOSECONDS);
        if self.offset < 0 { since.saturating_sub(offset) } else { since.saturating_add(offset) }
    }
}

/// The option if_tsresol: a negative power of 10, or of 2 if its highest bit is set. What it cannot mean is taken as
/// microseconds, as if it were not there. (The library's own reading refuses powers of 2.)
fn resolution(option: u8) -> Resolution {
    const MICROSECONDS: u8 = 6;
    let power = u32::from(option & 0x7f);
    let units = if option & 0x80 != 0 { 1u128.checked_shl(power) } else { 10u128.checked_pow(power) };
    match units {
        Some(units) if units <= u128::from(NANOSECONDS) && u128::from(NANOSECONDS) % units == 0 => {
            Resolution::Whole(NANOSECONDS / u64::try_from(units).unwrap_or(NANOSECONDS))
        }
        Some(units) => Resolution::PerSecond(units),
        None => resolution(MICROSECONDS),
    }
}
