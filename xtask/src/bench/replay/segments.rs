//! The packets of one connection: handshake, data and acknowledgements, end.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use super::mix::Dice;
use super::packet::{ACK, FIN, PSH, SYN, Segment};
use crate::bench::handshake::Flight;

/// An Ethernet frame of 1,500 bytes less the headers of IPv4 and TCP, the latter with timestamps.
const SEGMENT: usize = 1_448;
/// Data segments that one acknowledgement covers (RFC 9293 section 3.8.6.3).
const ACKNOWLEDGED_TOGETHER: usize = 2;
/// Hosts of the clients; the port tells connections of one host apart.
const CLIENT_HOSTS: u64 = 250;
const FIRST_CLIENT_PORT: u64 = 20_000;
/// Most connections whose addresses differ.
pub const MOST_CONNECTIONS: u64 = CLIENT_HOSTS * (u16::MAX as u64 - FIRST_CLIENT_PORT);
/// No operation twice, timestamp (RFC 7323 section 3.2).
const TIMESTAMP: [u8; 12] = [1, 1, 8, 10, 0, 1, 0, 0, 0, 1, 0, 0];
/// Segment size of 1,460, selective acknowledgements, timestamp, window scale.
const SYN_OPTIONS: [u8; 20] = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 1, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7];

/// Client and server of the connection of this number.
pub fn addresses(number: u64, server: usize, encrypted: bool) -> (SocketAddrV4, SocketAddrV4) {
    let host = (number % CLIENT_HOSTS) as u8 + 1;
    let port = (FIRST_CLIENT_PORT + number / CLIENT_HOSTS) as u16;
    let server = Ipv4Addr::new(10, 2, 0, server as u8 + 1);
    (
        SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, host), port),
        SocketAddrV4::new(server, if encrypted { 443 } else { 80 }),
    )
}

/// The number of the connection of this client.
pub fn number_of(client: SocketAddrV4) -> Option<u64> {
    let [10, 1, 0, host] = client.ip().octets() else { return None };
    let host = u64::from(host).checked_sub(1)?;
    Some(u64::from(client.port()).checked_sub(FIRST_CLIENT_PORT)? * CLIENT_HOSTS + host)
}

/// All frames of a connection in the order in which they are sent.
pub fn frames(
    number: u64,
    (client, server): (SocketAddrV4, SocketAddrV4),
    flights: &[Flight],
) -> VecDeque<Vec<u8>> {
    let mut dice = Dice(number ^ 0x5eed);
    let mut wire = Wire {
        ends: [client, server],
        next: [dice.next() as u32, dice.next() as u32],
        frames: VecDeque::new(),
    };
    wire.open();
    for flight in flights {
        wire.flight(if flight.from_client { CLIENT } else { SERVER }, &flight.bytes);
    }
    wire.send(CLIENT, FIN | ACK, &[]);
    wire.send(SERVER, FIN | ACK, &[]);
    wire.send(CLIENT, ACK, &[]);
    wire.frames
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

struct Wire {
    ends: [SocketAddrV4; 2],
    /// Next sequence number of each end.
    next: [u32; 2],
    frames: VecDeque<Vec<u8>>,
}

impl Wire {
    fn open(&mut self) {
        self.send(CLIENT, SYN, &[]);
        self.send(SERVER, SYN | ACK, &[]);
        self.send(CLIENT, ACK, &[]);
    }

    fn flight(&mut self, from: usize, bytes: &[u8]) {
        let count = bytes.len().div_ceil(SEGMENT);
        for (position, payload) in (1..).zip(bytes.chunks(SEGMENT)) {
            let last = position == count;
            self.send(from, if last { PSH | ACK } else { ACK }, payload);
            // The last one is acknowledged by what the other side says next.
            if !last && position % ACKNOWLEDGED_TOGETHER == 0 {
                self.send(1 - from, ACK, &[]);
            }
        }
    }

    fn send(&mut self, from: usize, flags: u8, payload: &[u8]) {
        let acknowledgement = if flags & ACK == 0 { 0 } else { self.next[1 - from] };
        let options: &[u8] = if flags & SYN == 0 { &TIMESTAMP } else { &SYN_OPTIONS };
        let segment = Segment {
            from: self.ends[from],
            to: self.ends[1 - from],
            flags,
            sequence: self.next[from],
            acknowledgement,
            options,
            payload,
        };
        self.frames.push_back(segment.frame());
        // SYN and FIN count as a byte each (RFC 9293 section 3.4).
        let consumed = payload.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
        self.next[from] = self.next[from].wrapping_add(consumed);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PORTS: usize = 34;
    const SEQUENCE: usize = 38;
    const ACKNOWLEDGEMENT: usize = 42;
    const FLAGS: usize = 47;

    fn word(frame: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(frame[at..at + 4].try_into().unwrap())
    }

    fn payload(frame: &[u8]) -> &[u8] {
        &frame[PORTS + usize::from(frame[46] >> 4) * 4..]
    }

    #[test]
    fn each_side_acknowledges_what_the_other_sent() {
        let data: Vec<u8> = (0..10_000_u32).map(|number| number as u8).collect();
        let flights = [
            Flight { from_client: true, bytes: data[..100].to_vec() },
            Flight { from_client: false, bytes: data.clone() },
            Flight { from_client: true, bytes: data[..1_448].to_vec() },
        ];
        let frames = frames(7, addresses(7, 3, true), &flights);
        let client_port = frames[0][PORTS..PORTS + 2].to_vec();
        // Next sequence number and bytes, client first.
        let mut next = [word(&frames[0], SEQUENCE), word(&frames[1], SEQUENCE)];
        let mut sent = [Vec::<u8>::new(), Vec::new()];
        for frame in &frames {
            let from = usize::from(frame[PORTS..PORTS + 2] != client_port);
            assert_eq!(word(frame, SEQUENCE), next[from]);
            if frame[FLAGS] & ACK != 0 {
                assert_eq!(word(frame, ACKNOWLEDGEMENT), next[1 - from]);
            }
            assert!(payload(frame).len() <= SEGMENT && frame.len() <= 1_514);
            sent[from].extend(payload(frame));
            let consumed = payload(frame).len() as u32 + u32::from(frame[FLAGS] & (SYN | FIN) != 0);
            next[from] = next[from].wrapping_add(consumed);
        }
        assert_eq!(sent[1], data);
        assert_eq!(sent[0], [&data[..100], &data[..1_448]].concat());
    }

    #[test]
    fn the_client_says_which_connection_it_is() {
        let mut clients = HashSet::new();
        for number in (0..60_000).chain([MOST_CONNECTIONS - 1]) {
            let (client, _) = addresses(number, 0, true);
            assert_eq!(number_of(client), Some(number));
            assert!(clients.insert(client));
        }
    }
}
