//! What the flows see of a packet: addresses and a transport header.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An address and a port; IPv4 addresses are kept as IPv4-mapped ones (RFC 4291 section 2.5.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub address: u128,
    pub port: u16,
}

impl Endpoint {
    pub fn socket_address(self) -> SocketAddr {
        SocketAddr::new(Ipv6Addr::from_bits(self.address).to_canonical(), self.port)
    }
}

/// The address as [`Endpoint`] keeps it.
pub fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The flags of TCP that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub reset: bool,
}

/// A TCP packet.
#[derive(Debug, Clone, Copy)]
pub struct TcpPacket<'a> {
    pub source: Endpoint,
    pub destination: Endpoint,
    /// Of the first payload byte; of the SYN itself if there is one.
    pub sequence: u32,
    pub acknowledged: u32,
    pub flags: Flags,
    pub payload: &'a [u8],
    /// Payload bytes behind `payload` that the capture does not hold.
    pub missing: u32,
}

/// A UDP packet.
#[derive(Debug, Clone, Copy)]
pub struct UdpPacket<'a> {
    pub source: Endpoint,
    pub destination: Endpoint,
    pub payload: &'a [u8],
}

/// A packet that a flow can be made of.
#[derive(Debug, Clone, Copy)]
pub enum Transport<'a> {
    Tcp(TcpPacket<'a>),
    Udp(UdpPacket<'a>),
}
