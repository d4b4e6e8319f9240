//! Builders of packets and capture files.

pub const CLIENT: [u8; 4] = [10, 0, 0, 1];
pub const SERVER: [u8; 4] = [10, 0, 0, 2];
pub const CLIENT_PORT: u16 = 40_000;
pub const SERVER_PORT: u16 = 443;
pub const CLIENT_ISN: u32 = 999;
pub const SERVER_ISN: u32 = 8_999;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// A TCP segment; offsets count from the first payload byte of each direction.
pub fn tcp(from: u16, to: u16, sequence: u32, acknowledged: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(acknowledged.to_be_bytes());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(payload);
    bytes
}

pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.to_be_bytes());
    bytes.extend(to.to_be_bytes());
    bytes.extend((payload.len() as u16 + 8).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

pub fn ipv4(from: [u8; 4], to: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    fragment_v4(from, to, protocol, (0, 0), payload)
}

/// `place`: identification, then flags and offset as they stand in the header.
pub fn fragment_v4(from: [u8; 4], to: [u8; 4], protocol: u8, place: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((payload.len() as u16 + 20).to_be_bytes());
    bytes.extend(place.0.to_be_bytes());
    bytes.extend(place.1.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(from);
    bytes.extend(to);
    bytes.extend(payload);
    bytes
}

/// `next`: the first next-header value; extension headers are part of `payload`.
pub fn ipv6(from: u8, to: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 64]);
    for last in [from, to] {
        bytes.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    bytes.extend(payload);
    bytes
}

pub fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    bytes.extend(kind.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// One packet of the usual connection, as an IPv4 packet: offsets from the first payload bytes.
pub fn segment(from_client: bool, sequence: i64, acknowledged: i64, flags: u8, payload: &[u8]) -> Vec<u8> {
    let place = |isn: u32, offset: i64| isn.wrapping_add(1).wrapping_add(offset as u32);
    if from_client {
        let (sequence, acknowledged) = (place(CLIENT_ISN, sequence), place(SERVER_ISN, acknowledged));
        ipv4(CLIENT, SERVER, 6, &tcp(CLIENT_PORT, SERVER_PORT, sequence, acknowledged, flags, payload))
    } else {
        let (sequence, acknowledged) = (place(SERVER_ISN, sequence), place(CLIENT_ISN, acknowledged));
        ipv4(SERVER, CLIENT, 6, &tcp(SERVER_PORT, CLIENT_PORT, sequence, acknowledged, flags, payload))
    }
}

/// SYN, SYN-ACK, ACK.
pub fn opening() -> Vec<Vec<u8>> {
    vec![
        segment(true, -1, -(i64::from(SERVER_ISN) + 1), SYN, b""),
        segment(false, -1, 0, SYN | ACK, b""),
        segment(true, 0, 0, ACK, b""),
    ]
}

/// A whole connection in which the client says `hello` and the server `welcome`.
pub fn connection() -> Vec<Vec<u8>> {
    let mut packets = opening();
    packets.extend([
        segment(true, 0, 0, ACK, b"hello"),
        segment(false, 0, 5, ACK, b"welcome"),
        segment(true, 5, 7, FIN | ACK, b""),
        segment(false, 7, 6, FIN | ACK, b""),
        segment(true, 6, 8, ACK, b""),
    ]);
    packets
}

pub fn on_ethernet(packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    packets.iter().map(|packet| ethernet(0x0800, packet)).collect()
}

/// How a classic file is written.
#[derive(Clone, Copy)]
pub struct Pcap {
    pub link: u32,
    pub big_endian: bool,
    pub nanoseconds: bool,
    /// Bytes of each packet that are kept.
    pub snap: usize,
    /// Seconds of the first packet.
    pub begin: u32,
}

impl Default for Pcap {
    fn default() -> Self {
        Pcap { link: 1, big_endian: false, nanoseconds: false, snap: usize::MAX, begin: 1_000 }
    }
}

impl Pcap {
    pub fn write(self, packets: &[Vec<u8>]) -> Vec<u8> {
        let word = |value: u32| if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut file = Vec::new();
        file.extend(word(if self.nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }));
        file.extend(word(if self.big_endian { 0x0002_0004 } else { 0x0004_0002 }));
        for value in [0, 0, 65_535, self.link] {
            file.extend(word(value));
        }
        for (index, packet) in packets.iter().enumerate() {
            let kept = packet.len().min(self.snap);
            for value in [self.begin, index as u32, kept as u32, packet.len() as u32] {
                file.extend(word(value));
            }
            file.extend(&packet[..kept]);
        }
        file
    }
}

/// A classic Ethernet file of IPv4 packets.
pub fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    Pcap::default().write(&on_ethernet(packets))
}

/// A pcapng block.
pub fn block(big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let padded = body.len().next_multiple_of(4);
    let mut bytes = Vec::new();
    bytes.extend(word(kind));
    bytes.extend(word(padded as u32 + 12));
    bytes.extend(body);
    bytes.resize(8 + padded, 0);
    bytes.extend(word(padded as u32 + 12));
    bytes
}

pub fn section(big_endian: bool) -> Vec<u8> {
    let body: [&[u8]; 2] = if big_endian {
        [&[0x1a, 0x2b, 0x3c, 0x4d, 0, 1, 0, 0], &[0xff; 8]]
    } else {
        [&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0], &[0xff; 8]]
    };
    block(big_endian, 0x0a0d_0d0a, &body.concat())
}

/// An interface of a link type, with its options as bytes.
pub fn interface(big_endian: bool, link: u16, options: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(if big_endian { link.to_be_bytes() } else { link.to_le_bytes() });
    body.extend([0; 6]);
    body.extend(options);
    block(big_endian, 1, &body)
}

pub fn enhanced(big_endian: bool, interface: u32, ticks: u64, packet: &[u8]) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let length = packet.len() as u32;
    let mut body = Vec::new();
    for value in [interface, (ticks >> 32) as u32, ticks as u32, length, length] {
        body.extend(word(value));
    }
    body.extend(packet);
    block(big_endian, 6, &body)
}

pub fn simple(packet: &[u8]) -> Vec<u8> {
    let body = [&(packet.len() as u32).to_le_bytes(), packet].concat();
    block(false, 3, &body)
}

pub fn obsolete(interface: u16, ticks: u64, packet: &[u8]) -> Vec<u8> {
    let length = (packet.len() as u32).to_le_bytes();
    let mut body = [interface.to_le_bytes(), [0, 0]].concat();
    body.extend(((ticks >> 32) as u32).to_le_bytes());
    body.extend((ticks as u32).to_le_bytes());
    body.extend([length, length].concat());
    body.extend(packet);
    block(false, 2, &body)
}
