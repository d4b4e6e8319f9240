//! UDP that carries QUIC or DTLS: recognised and counted, not decoded.

use std::collections::HashSet;

use super::packet::{Endpoint, UdpPacket};
use super::summary::Summary;

/// Most address pairs that are told apart; further packets are counted without.
const FLOWS_MAX: usize = 16_384;

/// The longest connection id of QUIC versions 1 and 2 (RFC 9000 section 17.2).
const CONNECTION_ID_MAX: u8 = 20;
/// Long header form.
const LONG_HEADER: u8 = 0x80;
/// Content types of DTLS that a first datagram can have: alert, handshake.
const DTLS_TYPES: [u8; 2] = [21, 22];
/// DTLS 1.0 and 1.2; 1.3 looks like 1.2 in its first messages (RFC 9147 section 5.3).
const DTLS_VERSIONS: [[u8; 2]; 2] = [[0xfe, 0xff], [0xfe, 0xfd]];

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Quic,
    Dtls,
}

/// The address pairs that were seen.
#[derive(Default)]
pub struct Datagrams {
    seen: HashSet<(Kind, Endpoint, Endpoint)>,
}

impl Datagrams {
    /// Counts the flow of a datagram that is recognised.
    pub fn take(&mut self, packet: &UdpPacket<'_>, summary: &mut Summary) {
        let Some(kind) = recognise(packet.payload) else { return };
        let (low, high) = (packet.source.min(packet.destination), packet.source.max(packet.destination));
        if self.seen.len() >= FLOWS_MAX && !self.seen.contains(&(kind, low, high)) {
            summary.datagrams_not_told_apart += 1;
        } else if self.seen.insert((kind, low, high)) {
            match kind {
                Kind::Quic => summary.quic_flows += 1,
                Kind::Dtls => summary.dtls_flows += 1,
            }
        }
    }
}

/// What a datagram is by its first bytes.
pub fn recognise(payload: &[u8]) -> Option<Kind> {
    match payload {
        [first, a, b, c, d, rest @ ..] if first & LONG_HEADER != 0 => {
            is_quic(u32::from_be_bytes([*a, *b, *c, *d]), rest).then_some(Kind::Quic)
        }
        // Type, version, epoch 0, sequence number, length.
        [kind, major, minor, 0, 0, _, _, _, _, _, _, high, low, ..]
            if DTLS_TYPES.contains(kind) && DTLS_VERSIONS.contains(&[*major, *minor]) =>
        {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (length > 0 && length <= 1 << 14).then_some(Kind::Dtls)
        }
        _ => None,
    }
}

fn is_quic(version: u32, rest: &[u8]) -> bool {
    match version {
        // Versions 1 (RFC 9000) and 2 (RFC 9369), drafts of version 1, Facebook's mvfst.
        1 | 0x6b33_43cf | 0xff00_0000..=0xff00_00ff | 0xface_b000..=0xface_b00f => {
            rest.first().is_some_and(|length| *length <= CONNECTION_ID_MAX)
        }
        // Versions that only exist to be refused (RFC 9000 section 15).
        reserved if reserved & 0x0f0f_0f0f == 0x0a0a_0a0a => {
            rest.first().is_some_and(|length| *length <= CONNECTION_ID_MAX)
        }
        // Google's own, before the standard: Q or T, then three digits.
        _ => {
            let [letter, digits @ ..] = version.to_be_bytes();
            matches!(letter, b'Q' | b'T') && digits.iter().all(u8::is_ascii_digit)
        }
    }
}
