//! Link layers: what carries the first IP header, and where it is.

use super::packet::{Tunnel, VirtualNetwork};

/// Most tags and labels before the IP header: a provider's networks stack four.
const TAGS_MAX: usize = 8;

mod ether_type {
    pub const IPV4: u16 = 0x0800;
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1Q, 802.1ad, and two older types for the outer tag.
    pub const TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
    /// Cisco TrustSec: version, length, options, security group tag.
    pub const CISCO_METADATA: u16 = 0x8909;
    /// RFC 3032 section 5.
    pub const MPLS: [u16; 2] = [0x8847, 0x8848];
    /// RFC 2516 section 4.
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// An Ethernet frame, where a tunnel says what it carries (RFC 1701).
    pub const TRANSPARENT_ETHERNET: u16 = 0x6558;
    /// Smaller values are lengths (IEEE 802.3).
    pub const SMALLEST: u16 = 0x0600;
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried<'a> {
    /// An IP packet of either version, with whatever padding follows it.
    Ip(&'a [u8], VirtualNetwork),
    /// Something else.
    NotIp,
    /// The headers end before they say.
    Cut,
    /// The link type is not supported.
    Unsupported,
}

impl Carried<'_> {
    /// The same, in the network that a tunnel numbers.
    pub fn of_tunnel(self, tunnel: Tunnel, number: u32) -> Self {
        self.map_network(|network| network.of_tunnel(tunnel, number))
    }

    fn map_network(self, change: impl FnOnce(VirtualNetwork) -> VirtualNetwork) -> Self {
        match self {
            Carried::Ip(packet, network) => Carried::Ip(packet, change(network)),
            other => other,
        }
    }
}

/// Finds the IP packet in a frame of a link type (LINKTYPE_ registry of tcpdump.org).
#[inline]
pub fn carried(link: u32, frame: &[u8]) -> Carried<'_> {
    match link {
        0 | 108 => loopback(frame),
        1 => ethernet(frame),
        9 | 50 => ppp(frame),
        51 => pppoe(frame),
        12 | 14 | 101 => ip(frame),
        104 => typed_at(frame, 2),
        113 => typed_at(frame, 14),
        228 | 229 => ip(frame),
        276 => match (word(frame, 0), frame.get(20..)) {
            (Some(kind), Some(payload)) => of_type(kind, payload),
            _ => Carried::Cut,
        },
        _ => Carried::Unsupported,
    }
}

/// An Ethernet frame.
pub fn ethernet(frame: &[u8]) -> Carried<'_> {
    typed_at(frame, 12)
}

/// What a tunnel carries by an EtherType.
#[inline]
pub fn of_type(mut kind: u16, mut payload: &[u8]) -> Carried<'_> {
    let mut network = VirtualNetwork::default();
    for _ in 0..TAGS_MAX {
        // Where the type of what follows the tag stands in the tag.
        let next = match kind {
            ether_type::IPV4 | ether_type::IPV6 => return ip(payload).map_network(|_| network),
            ether_type::CISCO_METADATA => 6,
            ether_type::PPPOE_SESSION => return pppoe(payload).map_network(|_| network),
            ether_type::TRANSPARENT_ETHERNET => 12,
            kind if ether_type::TAGS.contains(&kind) => {
                network = network.tagged(word(payload, 0).unwrap_or_default());
                2
            }
            kind if ether_type::MPLS.contains(&kind) => {
                return labelled(payload).map_network(|_| network);
            }
            kind if kind < ether_type::SMALLEST => match payload {
                // SNAP (RFC 1042): the type follows.
                [0xaa, 0xaa, 3, 0, 0, 0, ..] => 6,
                _ => return Carried::NotIp,
            },
            _ => return Carried::NotIp,
        };
        let (Some(inner), Some(rest)) = (word(payload, next), payload.get(next + 2..)) else {
            return Carried::Cut;
        };
        (kind, payload) = (inner, rest);
    }
    Carried::NotIp
}

/// A PPP frame, with or without the address and control bytes of HDLC (RFC 1662), or with those of Cisco HDLC.
pub fn ppp(frame: &[u8]) -> Carried<'_> {
    match frame {
        [0xff, 0x03, rest @ ..] => of_ppp(rest),
        [0x0f | 0x8f, 0, ..] => typed_at(frame, 2),
        _ => of_ppp(frame),
    }
}

/// By the protocol field, of which a leading zero may be left out (RFC 1661 section 6.5).
fn of_ppp(frame: &[u8]) -> Carried<'_> {
    match frame {
        [0, 0x21 | 0x57, rest @ ..] | [0x21 | 0x57, rest @ ..] => ip(rest),
        // MPLS (RFC 3032 section 4.3).
        [2, 0x81 | 0x83, rest @ ..] => labelled(rest),
        [] => Carried::Cut,
        _ => Carried::NotIp,
    }
}

fn pppoe(payload: &[u8]) -> Carried<'_> {
    payload.get(6..).map_or(Carried::Cut, of_ppp)
}

/// An address family in the byte order of the machine that captured (0) or of the network (108).
fn loopback(frame: &[u8]) -> Carried<'_> {
    let Some((family, rest)) = frame.split_first_chunk::<4>() else { return Carried::Cut };
    let family = u32::from_le_bytes(*family);
    match if family > 0xffff { family.swap_bytes() } else { family } {
        // AF_INET6 has a number of its own on Linux, NetBSD, FreeBSD and macOS.
        2 | 10 | 24 | 28 | 30 => ip(rest),
        _ => Carried::NotIp,
    }
}

fn labelled(mut payload: &[u8]) -> Carried<'_> {
    for _ in 0..TAGS_MAX {
        let Some((label, rest)) = payload.split_first_chunk::<4>() else { return Carried::Cut };
        payload = rest;
        if label[2] & 1 != 0 {
            return ip(payload);
        }
    }
    Carried::NotIp
}

fn ip(payload: &[u8]) -> Carried<'_> {
    match payload.first().map(|first| first >> 4) {
        Some(4 | 6) => Carried::Ip(payload, VirtualNetwork::default()),
        Some(_) => Carried::NotIp,
        None => Carried::Cut,
    }
}

fn typed_at(frame: &[u8], at: usize) -> Carried<'_> {
    match (word(frame, at), frame.get(at + 2..)) {
        (Some(kind), Some(payload)) => of_type(kind, payload),
        _ => Carried::Cut,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word))
}
