//! Captures made of this project's own recorded handshakes: pcap, Ethernet, IPv4, TCP.

/// 2023-11-14T22:13:20Z in nanoseconds.
pub const BEGIN: u64 = 1_700_000_000_000_000_000;
/// One second.
pub const SECOND: u64 = 1_000_000_000;

/// A capture in the making, and its clock.
pub struct Made {
    /// The file so far.
    pub bytes: Vec<u8>,
    /// Time of the next packet, in nanoseconds since the epoch.
    pub now: u64,
    /// Bytes of each packet that are kept.
    pub snap: usize,
    /// The packet that the capture missed, counted from 0.
    pub missed: Option<usize>,
    /// Packets so far.
    pub packets: usize,
}

/// How a connection of a capture ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// By FIN from both sides.
    Fin,
    /// Not at all.
    Never,
}

/// Both ends of a connection.
#[derive(Clone, Copy)]
pub struct Flow {
    /// Last byte of the client's address, 10.0.0.x.
    pub client: u8,
    /// The client's port.
    pub client_port: u16,
    /// The server's, at 10.0.0.2.
    pub server_port: u16,
}

const SYN: u8 = 2;
const FIN: u8 = 1;
const ACK: u8 = 16;

impl Made {
    /// An empty capture: nanoseconds, little-endian, Ethernet.
    pub fn new() -> Made {
        let header = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1];
        let bytes = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        Made { bytes, now: BEGIN, snap: usize::MAX, missed: None, packets: 0 }
    }

    /// A whole connection: who says what, in turns.
    pub fn connection(&mut self, flow: Flow, said: &[(bool, Vec<u8>)], ends: Ends) {
        let mut sent = [1000 + u32::from(flow.client_port), 900_000];
        self.packet(flow, true, SYN, sent[0], 0, &[]);
        self.packet(flow, false, SYN | ACK, sent[1], sent[0] + 1, &[]);
        sent = [sent[0] + 1, sent[1] + 1];
        self.packet(flow, true, ACK, sent[0], sent[1], &[]);
        for (by_client, bytes) in said {
            let (own, other) = if *by_client { (0, 1) } else { (1, 0) };
            for part in bytes.chunks(1400) {
                self.packet(flow, *by_client, ACK, sent[own], sent[other], part);
                sent[own] += part.len() as u32;
            }
        }
        if ends == Ends::Fin {
            self.packet(flow, true, FIN | ACK, sent[0], sent[1], &[]);
            self.packet(flow, false, FIN | ACK, sent[1], sent[0] + 1, &[]);
            self.packet(flow, true, ACK, sent[0] + 1, sent[1] + 1, &[]);
        }
    }

    /// One packet.
    pub fn packet(
        &mut self,
        flow: Flow,
        by_client: bool,
        flags: u8,
        sequence: u32,
        acknowledged: u32,
        payload: &[u8],
    ) {
        let (client, server) = ([10, 0, 0, flow.client], [10, 0, 0, 2]);
        let ends = if by_client {
            (client, server, flow.client_port, flow.server_port)
        } else {
            (server, client, flow.server_port, flow.client_port)
        };
        let (source, destination, source_port, destination_port) = ends;
        let length = (40 + payload.len()) as u16;
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend(source.iter().chain(&destination));
        frame.extend(source_port.to_be_bytes());
        frame.extend(destination_port.to_be_bytes());
        frame.extend(sequence.to_be_bytes());
        frame.extend(acknowledged.to_be_bytes());
        frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(payload);
        self.packets += 1;
        self.now += 1000;
        if self.missed == Some(self.packets - 1) {
            return;
        }
        let (kept, length) = (frame.len().min(self.snap), frame.len());
        for word in [(self.now / SECOND) as u32, (self.now % SECOND) as u32, kept as u32, length as u32] {
            self.bytes.extend(word.to_le_bytes());
        }
        self.bytes.extend(&frame[..kept]);
    }
}

/// A connection from 10.0.0.1.
pub fn flow(client_port: u16, server_port: u16) -> Flow {
    Flow { client: 1, client_port, server_port }
}

/// A plaintext exchange.
pub fn http() -> Vec<(bool, Vec<u8>)> {
    vec![
        (true, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (false, b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    ]
}

/// TLS 1.2, both certificates in clear.
pub fn tls12_mutual() -> Vec<(bool, Vec<u8>)> {
    recorded(include_str!("../../tls/fixtures/12_mutual.hex"))
}

/// TLS 1.2, only the server's certificate.
pub fn tls12_server_only() -> Vec<(bool, Vec<u8>)> {
    recorded(include_str!("../../tls/fixtures/12_server_only.hex"))
}

/// TLS 1.3 with a client certificate.
pub fn tls13_mutual() -> Vec<(bool, Vec<u8>)> {
    recorded(include_str!("../../tls/fixtures/13_mutual.hex"))
}

fn recorded(text: &str) -> Vec<(bool, Vec<u8>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let chunk = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let by_client = words.next() == Some("C");
        let hex = words.nth(1).unwrap_or_default();
        let digits: Vec<u8> =
            hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        (by_client, digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    };
    lines.map(chunk).collect()
}
