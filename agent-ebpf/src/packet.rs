//! Where a packet's TCP header and payload are.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_skb_load_bytes};
use core::hint::black_box;

use crate::{connect::TCP, state::field};

/// IPv6 extension headers that are walked over; more than two are not seen in TCP traffic.
const EXTENSION_HEADERS_MAX: usize = 4;
/// Bytes of TCP options at most (RFC 9293 section 3.1).
const OPTIONS_BYTES: u32 = 40;
/// Room for them: a power of two, so that a mask keeps an index inside.
const OPTIONS_ROOM: usize = 64;
/// Options that are looked at; a SYN carries about six.
const OPTIONS_MAX: usize = 16;
/// TCP option kind of multipath TCP (RFC 8684).
const OPTION_MULTIPATH: u8 = 30;
/// Its subtype for further subflows.
const MP_JOIN: u8 = 1;

/// TCP flag.
const SYN: u8 = 0x02;

/// A TCP packet.
pub struct Packet {
    /// IP version.
    pub version: u8,
    /// Addresses as the packet has them: source, destination; 4 bytes used for IPv4.
    pub source: [u32; 4],
    /// Destination address.
    pub destination: [u32; 4],
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number of the payload's first byte.
    pub sequence: u32,
    /// Acknowledgement number.
    pub acknowledged: u32,
    /// SYN is set: `sequence` is that of the first byte of the whole direction.
    pub syn: bool,
    /// Where the TCP header is.
    pub header: u32,
    /// Where the payload starts.
    pub payload: u32,
    /// Payload bytes.
    pub length: u32,
}

/// What a packet is.
pub enum Parsed {
    /// A whole TCP header.
    Tcp(Packet),
    /// Another protocol or a fragment.
    Other,
    /// Its bytes could not be read.
    Unreadable,
}

#[inline(always)]
fn load<const N: usize>(skb: *mut __sk_buff, offset: u32) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    let result = unsafe { bpf_skb_load_bytes(skb.cast(), offset, bytes.as_mut_ptr().cast(), N as u32) };
    (result == 0).then_some(bytes)
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads the headers. At the cgroup hooks the packet starts with its IP header.
#[inline(always)]
pub fn parse(skb: *mut __sk_buff) -> Parsed {
    let Some(start) = load::<20>(skb, 0) else { return Parsed::Unreadable };
    let version = start[0] >> 4;
    let mut source = [0u32; 4];
    let mut destination = [0u32; 4];
    let header = if version == 4 {
        let fragment = u16::from_be_bytes([start[6], start[7]]) & 0x1fff;
        if start[9] != TCP as u8 || fragment != 0 {
            return Parsed::Other;
        }
        source[0] = word(&start, 12);
        destination[0] = word(&start, 16);
        u32::from(start[0] & 0x0f) * 4
    } else {
        let Some(addresses) = load::<32>(skb, 8) else { return Parsed::Unreadable };
        source = [word(&addresses, 0), word(&addresses, 4), word(&addresses, 8), word(&addresses, 12)];
        destination =
            [word(&addresses, 16), word(&addresses, 20), word(&addresses, 24), word(&addresses, 28)];
        let mut next = start[6];
        let mut offset = 40;
        for _ in 0..EXTENSION_HEADERS_MAX {
            // Hop-by-hop, routing, destination options (RFC 8200 section 4).
            if next != 0 && next != 43 && next != 60 {
                break;
            }
            let Some(extension) = load::<2>(skb, offset) else { return Parsed::Unreadable };
            next = extension[0];
            offset += (u32::from(extension[1]) + 1) * 8;
        }
        if next != TCP as u8 {
            return Parsed::Other;
        }
        offset
    };
    let Some(tcp) = load::<20>(skb, header) else { return Parsed::Unreadable };
    let payload = header + u32::from(tcp[12] >> 4) * 4;
    let syn = tcp[13] & SYN != 0;
    let sequence = u32::from_be(word(&tcp, 4));
    Parsed::Tcp(Packet {
        version,
        source,
        destination,
        source_port: u16::from_be_bytes([tcp[0], tcp[1]]),
        destination_port: u16::from_be_bytes([tcp[2], tcp[3]]),
        sequence: if syn { sequence.wrapping_add(1) } else { sequence },
        acknowledged: u32::from_be(word(&tcp, 8)),
        syn,
        header,
        payload,
        length: field!(skb, len).saturating_sub(payload),
    })
}

/// Whether a SYN joins an existing multipath connection.
#[inline(never)]
pub fn joins(skb: *mut __sk_buff, start: u32, end: u32) -> bool {
    let mut options = [0u8; OPTIONS_ROOM];
    let length = black_box(end.wrapping_sub(start));
    if length == 0 || length > OPTIONS_BYTES {
        return false;
    }
    if unsafe { bpf_skb_load_bytes(skb.cast(), start, options.as_mut_ptr().cast(), length) } != 0 {
        return false;
    }
    let mut at = 0usize;
    for _ in 0..OPTIONS_MAX {
        // Through the black box, what the verifier knows of the place is the same on every path,
        // and it need not follow each.
        at = black_box(at) & (OPTIONS_ROOM - 1);
        match options[at] {
            0 => return false,
            1 => at += 1,
            OPTION_MULTIPATH => return options[(at + 2) & (OPTIONS_ROOM - 1)] >> 4 == MP_JOIN,
            _ => at += usize::from(options[(at + 1) & (OPTIONS_ROOM - 1)]),
        }
    }
    false
}
