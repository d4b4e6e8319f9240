//! How large the encrypted flights of a TLS 1.3 handshake are: what a Certificate message that was seen elsewhere can be
//! held against.

use super::handshake::Handshake;
use super::inference::certificate_length;
use super::message::kind;
use super::outline::{Entry, Outline, What};
use super::stream::{APPLICATION_DATA, Stream};
use super::suite::record_sizes;
use super::{ClientAuthentication, Direction, Version};

/// The flights of both sides, as far as they were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flights {
    client: Flight,
    server: Flight,
    /// Both sides could have compressed their certificates (RFC 8879): sizes say nothing.
    compressible: bool,
}

/// A Certificate message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageSize {
    /// Bytes with the handshake header.
    pub bytes: u32,
    /// These are all of them, not the least there can be.
    pub exact: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Flight {
    /// Bytes inside its encrypted records, padding included.
    bytes: u32,
    /// The Certificate message with its header, where it has records of its own; 0 if that cannot be told.
    certificate: u32,
    /// Some of it was not seen.
    incomplete: bool,
}

impl Flights {
    /// Whether what a side sent so far has room for this Certificate message; true too where sizes cannot tell.
    pub fn admit(&self, sender: Direction, message: MessageSize) -> bool {
        let flight = match sender {
            Direction::Client => self.client,
            Direction::Server => self.server,
        };
        if self.compressible || flight.incomplete {
            return true;
        }
        match flight.certificate {
            0 => flight.bytes >= message.bytes,
            length if message.exact => length == message.bytes,
            length => length >= message.bytes,
        }
    }
}

/// `None` before the ServerHello, for versions that encrypt otherwise, and for suites whose overhead is not known.
pub(super) fn flights(handshake: &Handshake) -> Option<Flights> {
    let facts = &handshake.facts;
    let hello = handshake.server.outline.find(kind::SERVER_HELLO)?;
    let suite = facts.cipher_suite.filter(|_| facts.version.is_some_and(Version::has_final_form))?;
    let overhead = record_sizes(suite)?.overhead;
    let client = client_records(&handshake.client.outline, hello.end, facts.early_data_offered);
    // Where the geometry follows no rule, the end of the flight is not known.
    let ruled = !matches!(facts.client_authentication, ClientAuthentication::Unknown(_));
    let end = handshake.flight_end.filter(|_| ruled).unwrap_or(u64::MAX);
    let client: Vec<Entry> = client.into_iter().filter(|entry| entry.end <= end).collect();
    let first = client.first().copied();
    let before_client = |entry: &&Entry| first.is_none_or(|first| entry.acknowledged <= first.start);
    let server: Vec<Entry> =
        handshake.server.outline.encrypted(APPLICATION_DATA).filter(before_client).copied().collect();
    let flight = |stream: &Stream, entries: &[Entry], sender| {
        let lengths: Vec<u16> = entries.iter().map(length).collect();
        let inside = lengths.iter().map(|length| u32::from(length.saturating_sub(overhead)));
        Flight {
            bytes: inside.sum(),
            certificate: certificate_length(suite, &lengths, sender).unwrap_or(0),
            incomplete: stream.broken().is_some() || !stream.outline.is_whole_to(u64::MAX),
        }
    };
    Some(Flights {
        client: flight(&handshake.client, &client, Direction::Client),
        server: flight(&handshake.server, &server, Direction::Server),
        compressible: !facts.certificate_compression_offered.is_empty(),
    })
}

/// The client's encrypted records after its last hello, without early data.
fn client_records(outline: &Outline, server_hello_end: u64, early_data: bool) -> Vec<Entry> {
    let hello = outline.entries().iter().rposition(|entry| entry.what == What::Message(kind::CLIENT_HELLO));
    let after = outline.entries().iter().skip(hello.map_or(0, |index| index + 1));
    after
        .filter(|entry| matches!(entry.what, What::Encrypted { content: APPLICATION_DATA, .. }))
        .filter(|entry| !early_data || entry.acknowledged >= server_hello_end)
        .copied()
        .collect()
}

fn length(entry: &Entry) -> u16 {
    match entry.what {
        What::Encrypted { length, .. } => length,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(flight: Flight, bytes: u32, exact: bool) -> bool {
        let flights = Flights { client: flight, ..Flights::default() };
        flights.admit(Direction::Client, MessageSize { bytes, exact })
    }

    #[test]
    fn a_message_must_have_room_and_fill_records_of_its_own_exactly() {
        let together = Flight { bytes: 1500, ..Flight::default() };
        assert!(admits(together, 1500, true) && admits(together, 900, true));
        assert!(!admits(together, 1501, false));
        let alone = Flight { bytes: 1500, certificate: 1000, incomplete: false };
        assert!(admits(alone, 1000, true) && admits(alone, 900, false));
        assert!(!admits(alone, 999, true) && !admits(alone, 1001, false));
    }

    #[test]
    fn sizes_do_not_bind_where_records_are_missing_or_certificates_may_be_compressed() {
        assert!(admits(Flight { incomplete: true, ..Flight::default() }, 1000, true));
        let flights = Flights { compressible: true, ..Flights::default() };
        assert!(flights.admit(Direction::Server, MessageSize { bytes: 1000, exact: true }));
    }
}
