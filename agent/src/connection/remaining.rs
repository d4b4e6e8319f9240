//! The end of a capture: the last word on connections of which no end was seen; and what names connections of captures.

use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use super::conclude::conclude;
use super::{Conclusion, ConnectionKey, Connections, Protocol, Sink, Stage};
use crate::event::{AddressPair, Timestamp};
use crate::tls::{IncompleteReason, UnknownReason};

impl Connections {
    /// The source has ended at `now`, and nothing more will come: every connection is reported for the last time as it stands,
    /// in the order in which they were opened. Those without an end have none in the report.
    pub fn finish_all(&mut self, now: Timestamp, sink: &mut dyn Sink) {
        let mut keys: Vec<ConnectionKey> = self.connections.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            let ended = self.connections.get(&key).is_some_and(|connection| connection.closed.is_some());
            if ended { self.finish(key, sink) } else { self.cut_off(key, now, sink) }
        }
    }

    /// Unlike [`Connections::finish`] it takes silence for nothing: the next byte might have come after the last packet.
    fn cut_off(&mut self, key: ConnectionKey, now: Timestamp, sink: &mut dyn Sink) {
        self.forget_meeting(key);
        let Some(mut connection) = self.connections.remove(&key) else { return };
        self.forget_sockets(&connection, sink);
        self.held.change(&mut connection.held, 0);
        if let Some(mut reading) = connection.reading.take() {
            reading.look();
            reading.give_up_holes(IncompleteReason::Truncated);
            self.spare.take_back(&mut reading);
            conclude(
                &mut connection,
                *reading,
                (&mut self.sessions, &mut self.shared, &mut self.fingerprints, &mut self.library.counts),
                sink,
            );
        }
        if connection.conclusion == Conclusion::silent() {
            connection.conclusion = Conclusion::unknown(Protocol::Silent, UnknownReason::Incomplete);
        }
        connection.decided.get_or_insert(now);
        if !connection.subflow {
            sink.connection(&connection, Stage::Final);
        }
    }
}

/// A serial number that the same connection has in every capture of it: of its addresses and initial sequence numbers.
pub(super) fn serial(pair: AddressPair, sequences: Option<(u32, u32)>) -> u64 {
    let mut name = [0; 44];
    let (ends, numbers) = name.split_at_mut(36);
    for (place, end) in ends.chunks_exact_mut(18).zip([pair.local, pair.remote]) {
        let address = match end.ip() {
            IpAddr::V4(four) => four.to_ipv6_mapped(),
            IpAddr::V6(six) => six,
        };
        place[..16].copy_from_slice(&address.octets());
        place[16..].copy_from_slice(&end.port().to_be_bytes());
    }
    let (client, server) = sequences.unwrap_or_default();
    numbers[..4].copy_from_slice(&client.to_be_bytes());
    numbers[4..].copy_from_slice(&server.to_be_bytes());
    SipHasher24::new().hash(&name)
}
