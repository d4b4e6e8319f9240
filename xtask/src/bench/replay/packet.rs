//! One Ethernet frame with IPv4 and TCP.

use std::net::SocketAddrV4;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const PROTOCOL_TCP: u8 = 6;

/// Flags of TCP (RFC 9293 section 3.1).
pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// What a segment says.
pub struct Segment<'a> {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    /// A multiple of four bytes, at most 40.
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// The frame, with both checksums.
    pub fn frame(&self) -> Vec<u8> {
        let tcp_length = TCP + self.options.len() + self.payload.len();
        let mut frame = Vec::with_capacity(ETHERNET + IPV4 + tcp_length);
        frame.extend(hardware_address(self.to));
        frame.extend(hardware_address(self.from));
        frame.extend(ETHERTYPE_IPV4);
        frame.extend(self.ipv4_header(tcp_length));
        let mut tcp = Vec::with_capacity(tcp_length);
        tcp.extend(self.from.port().to_be_bytes());
        tcp.extend(self.to.port().to_be_bytes());
        tcp.extend(self.sequence.to_be_bytes());
        tcp.extend(self.acknowledgement.to_be_bytes());
        let words = (TCP + self.options.len()) / 4;
        tcp.extend([(words as u8) << 4, self.flags]);
        // Window, checksum, urgent pointer.
        tcp.extend([0x01, 0xf5, 0, 0, 0, 0]);
        tcp.extend(self.options);
        tcp.extend(self.payload);
        let mut covered = [0; 12];
        covered[0..4].copy_from_slice(&self.from.ip().octets());
        covered[4..8].copy_from_slice(&self.to.ip().octets());
        covered[9] = PROTOCOL_TCP;
        covered[10..12].copy_from_slice(&(tcp_length as u16).to_be_bytes());
        let checksum = checksum(sum(&covered) + sum(&tcp));
        tcp[16..18].copy_from_slice(&checksum);
        frame.extend(tcp);
        frame
    }

    fn ipv4_header(&self, tcp_length: usize) -> [u8; IPV4] {
        let mut header = [0; IPV4];
        // Version and length in words; then the total length, "do not fragment" and 64 hops.
        header[0] = 0x45;
        header[2..4].copy_from_slice(&((IPV4 + tcp_length) as u16).to_be_bytes());
        header[6] = 0x40;
        header[8] = 64;
        header[9] = PROTOCOL_TCP;
        header[12..16].copy_from_slice(&self.from.ip().octets());
        header[16..20].copy_from_slice(&self.to.ip().octets());
        let checksum = checksum(sum(&header));
        header[10..12].copy_from_slice(&checksum);
        header
    }
}

/// Locally administered, and different for each address.
fn hardware_address(of: SocketAddrV4) -> [u8; 6] {
    let [first, second, third, fourth] = of.ip().octets();
    [0x02, 0, first, second, third, fourth]
}

/// Sum of the 16-bit words, the last one padded with zero (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let (words, last) = bytes.as_chunks::<2>();
    let words: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    words + last.first().map_or(0, |byte| u64::from(*byte) << 8)
}

fn checksum(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// RFC 1071 section 3, its example.
    #[test]
    fn sums_as_the_standard_does() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(sum(&bytes)), (!0xddf2_u16).to_be_bytes());
        assert_eq!(sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }

    #[test]
    fn both_checksums_hold() {
        for payload in [&b""[..], b"odd", b"even"] {
            let frame = Segment {
                from: SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), 4_000),
                to: SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, 1), 443),
                flags: PSH | ACK,
                sequence: 0xffff_fff0,
                acknowledgement: 7,
                options: &[1, 1, 1, 0],
                payload,
            }
            .frame();
            let (ip, tcp) = frame[ETHERNET..].split_at(IPV4);
            assert_eq!(checksum(sum(ip)), [0, 0]);
            assert_eq!(checksum(sum(&ip[12..20]) + 6 + tcp.len() as u64 + sum(tcp)), [0, 0]);
            assert!(tcp.ends_with(payload));
            assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), ip.len() + tcp.len());
        }
    }
}
