//! Tunnels: where the inner packet begins.

use super::link::{Carried, ethernet, of_type, ppp};
use super::packet::{Tunnel, VirtualNetwork};

/// RFC 7348 section 5.
const VXLAN_PORT: u16 = 4789;
/// RFC 8926 section 3.3.
const GENEVE_PORT: u16 = 6081;

/// GTP-U (3GPP TS 29.281 section 4.4.2).
const GTP_PORT: u16 = 2152;
/// A user's packet (section 7.1).
const GTP_T_PDU: u8 = 0xff;
/// Most extension headers of GTP-U that are walked over; one is usual (the QoS flow of 5G).
const GTP_EXTENSIONS_MAX: usize = 4;

/// GRE flags (RFC 2784, RFC 2890, RFC 2637 section 4.1).
mod gre_flag {
    pub const CHECKSUM: u16 = 0x8000;
    pub const ROUTING: u16 = 0x4000;
    pub const KEY: u16 = 0x2000;
    pub const SEQUENCE: u16 = 0x1000;
    /// Version 1 only.
    pub const ACKNOWLEDGEMENT: u16 = 0x0080;
    pub const VERSION: u16 = 0x0007;
}

/// PPP inside of GRE version 1 (PPTP).
const PPP: u16 = 0x880b;
/// ERSPAN types I and II (draft-foschiano-erspan-03).
const ERSPAN: u16 = 0x88be;
/// The header of ERSPAN type II; type I has neither it nor a sequence number.
const ERSPAN_HEADER: usize = 8;

/// What a UDP packet to this port carries, if that is a known tunnel and looks like it.
pub fn of_udp(port: u16, payload: &[u8]) -> Option<Carried<'_>> {
    match port {
        VXLAN_PORT => match payload {
            // The I flag must be set, the other flags of the base protocol are reserved.
            [flags, _, _, _, a, b, c, _, frame @ ..] if flags & 0x08 != 0 => {
                Some(ethernet(frame).of_tunnel(Tunnel::Vxlan, u32::from_be_bytes([0, *a, *b, *c])))
            }
            _ => None,
        },
        GENEVE_PORT => {
            let (&[options, _, high, low, a, b, c, _], _) = payload.split_first_chunk()?;
            // Version 0; the options' length is counted in 4 bytes.
            (options >> 6 == 0).then_some(())?;
            let inner = payload.get(8 + usize::from(options & 0x3f) * 4..)?;
            let number = u32::from_be_bytes([0, a, b, c]);
            Some(of_type(u16::from_be_bytes([high, low]), inner).of_tunnel(Tunnel::Geneve, number))
        }
        GTP_PORT => gtp(payload).map(|packet| Carried::Ip(packet, VirtualNetwork::default())),
        _ => None,
    }
}

/// The user's packet in one of GTP-U version 1 (3GPP TS 29.281 section 5.1).
fn gtp(payload: &[u8]) -> Option<&[u8]> {
    const EXTENSION: u8 = 0x04;
    const ANY_OPTION: u8 = 0x07;
    let (&[flags, kind, _, _, _, _, _, _], mut rest) = payload.split_first_chunk()?;
    if flags >> 4 != 3 || kind != GTP_T_PDU {
        return None;
    }
    if flags & ANY_OPTION != 0 {
        let (&[_, _, _, mut next], behind) = rest.split_first_chunk()?;
        rest = behind;
        for _ in 0..GTP_EXTENSIONS_MAX {
            if flags & EXTENSION == 0 || next == 0 {
                break;
            }
            // The length is counted in 4 bytes, the last byte names the next one.
            let length = usize::from(*rest.first()?) * 4;
            next = *rest.get(length.checked_sub(1)?)?;
            rest = rest.get(length..)?;
        }
    }
    matches!(rest.first()? >> 4, 4 | 6).then_some(rest)
}

/// What a GRE packet carries.
pub fn gre(packet: &[u8]) -> Carried<'_> {
    let Some((&[a, b, c, d], _)) = packet.split_first_chunk() else { return Carried::Cut };
    let (flags, kind) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let has = |flag: u16| flags & flag != 0;
    let length = |flag: u16| if has(flag) { 4 } else { 0 };
    let mut header = 4 + length(gre_flag::CHECKSUM) + length(gre_flag::KEY) + length(gre_flag::SEQUENCE);
    match (flags & gre_flag::VERSION, kind) {
        (0, _) if has(gre_flag::ROUTING) => return Carried::NotIp,
        (0, ERSPAN) if has(gre_flag::SEQUENCE) => header += ERSPAN_HEADER,
        (0, _) => {}
        (1, PPP) => header += length(gre_flag::ACKNOWLEDGEMENT),
        _ => return Carried::NotIp,
    }
    // An acknowledgement of PPTP carries nothing.
    match packet.get(header..) {
        None => Carried::Cut,
        Some([]) => Carried::NotIp,
        Some(inner) => {
            let inner = match kind {
                // The key is a length and a call, of one direction.
                PPP => return ppp(inner),
                ERSPAN => ethernet(inner),
                _ => of_type(kind, inner),
            };
            match has(gre_flag::KEY).then(|| key(packet, 4 + length(gre_flag::CHECKSUM))).flatten() {
                Some(key) => inner.of_tunnel(Tunnel::Gre, key),
                None => inner,
            }
        }
    }
}

fn key(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..)?.first_chunk().map(|key| u32::from_be_bytes(*key))
}
