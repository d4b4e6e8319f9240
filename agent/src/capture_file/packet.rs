//! What the flows see of a packet: addresses and a transport header.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZero;

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

/// The virtual network that a packet was in: in another one the same addresses may be other hosts'.
///
/// The two innermost VLAN ids (providers stack two), and the number that a tunnel gives its network. Inside of such a tunnel
/// the tags outside are the carrier's and do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VirtualNetwork(NonZero<u64>);

/// Tunnels that number the networks which they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnel {
    Vxlan = 1,
    Geneve = 2,
    Gre = 3,
}

impl VirtualNetwork {
    const VLAN_BITS: u32 = 12;
    const VLANS_BITS: u32 = 2 * Self::VLAN_BITS;
    const VLANS: u64 = (1 << Self::VLANS_BITS) - 1;

    /// Inside of one more VLAN tag, by its control information (IEEE 802.1Q); id 0 only carries a priority.
    pub fn tagged(self, control: u16) -> Self {
        match control & 0xfff {
            0 => self,
            id => {
                let vlans = (self.number() << Self::VLAN_BITS | u64::from(id)) & Self::VLANS;
                Self::numbered(self.number() & !Self::VLANS | vlans)
            }
        }
    }

    /// The same inside of a tunnel's network.
    pub fn of_tunnel(self, tunnel: Tunnel, number: u32) -> Self {
        let place = (tunnel as u64) << 32 | u64::from(number);
        Self::numbered(place << Self::VLANS_BITS | self.number() & Self::VLANS)
    }

    /// A tunnel's kind and number and two tags take 58 bits. The lowest bit is always set, so that a network which is not known
    /// takes no more room than one that is.
    fn numbered(number: u64) -> Self {
        VirtualNetwork(NonZero::<u64>::MIN | number << 1)
    }

    fn number(self) -> u64 {
        self.0.get() >> 1
    }

    /// Inside of a tunnel that runs in the network `outer`: a tunnel that says nothing leaves the packet there.
    pub fn within(self, outer: Self) -> Self {
        if self == VirtualNetwork::default() { outer } else { self }
    }
}

impl Default for VirtualNetwork {
    fn default() -> Self {
        Self::numbered(0)
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

impl Flags {
    /// From the byte that holds them (RFC 9293 section 3.1).
    pub fn of(byte: u8) -> Self {
        let has = |bit: u8| byte & bit != 0;
        Flags { syn: has(0x02), ack: has(0x10), fin: has(0x01), reset: has(0x04) }
    }
}

/// A TCP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpPacket<'a> {
    pub network: VirtualNetwork,
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
    Tcp(&'a TcpPacket<'a>),
    Udp(UdpPacket<'a>),
}
