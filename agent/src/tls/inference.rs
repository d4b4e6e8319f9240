//! Client authentication in TLS 1.3 from the lengths of encrypted records: a pure function of numbers.
//!
//! RFC 8446 encrypts CertificateRequest and the client's Certificate, not their sizes. With `finished` and `overhead`
//! from the cipher suite, and padding P of 0 or 16 bytes per record (Java), the client's flight is one of
//!
//! ```text
//! N                    Finished                                   not requested
//! 25, N   or  E        empty Certificate, Finished                requested, none sent
//! C…, CV, N            Certificate, CertificateVerify, Finished   presented
//! ≥ E + 250            the same in one record                     presented
//! 19                   alert                                      the client gave up
//! ```
//!
//! The client chooses its own sizes: what it alone could have forged is never of high confidence. The server's
//! flight is the other witness: five records (EncryptedExtensions, CertificateRequest, Certificate,
//! CertificateVerify, Finished) mean requested, four mean not.

use super::suite::{RecordSizes, record_sizes};
use super::{ClientAuthentication, Direction, Sight, UnknownReason};

/// Padding per record that implementations are known to add (none; Java).
const PADDINGS: [u16; 2] = [0, 16];
/// Handshake header of an empty Certificate with its two empty vectors (RFC 8446 section 4.4.2).
const EMPTY_CERTIFICATE: u16 = 8;
/// A record with the smallest Certificate: compressed ones of real peers have 400 bytes and more.
const MIN_CERTIFICATE: u32 = 120;
/// What Certificate and CertificateVerify add at least to a flight in one record.
const MIN_COALESCED: u16 = 250;
/// Full plaintext of one record (RFC 8446 section 5.1): the message goes on in the next one.
const FULL_RECORD: u16 = 1 << 14;
/// Handshake header, algorithm and length of CertificateVerify (RFC 8446 section 4.4.3).
const VERIFY_HEADER: u16 = 8;
/// Padding policies pad to multiples of at least this (RFC 8446 section 5.4 leaves it open).
const PADDING_BLOCK: u16 = 64;

/// Whether more of the client's flight can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It can.
    Open,
    /// The server answered what there is.
    Answered,
    /// The connection ended.
    Closed,
}

/// What is known of the records' lengths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry<'a> {
    /// Chosen cipher suite.
    pub suite: u16,
    /// The client's encrypted records after the server's flight.
    pub client: &'a [u16],
    /// The server's encrypted records that the client had when it sent the first of them; `None` if not all were seen.
    pub server_flight: Option<&'a [u16]>,
    /// Whether more can come.
    pub rest: Rest,
    /// The client sent early data that was refused: its end may be mistaken for the flight.
    pub early_data: bool,
}

/// What the geometry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inference {
    /// Not decidable yet.
    Wait,
    /// The client sent an alert instead.
    Aborted,
    /// Decided. The flight has so many records.
    Decided { authentication: ClientAuthentication, records: usize },
}

/// Applies the decision rule.
pub(super) fn infer(geometry: Geometry<'_>) -> Inference {
    let Some(sizes) = record_sizes(geometry.suite) else { return unknown(UnknownReason::UnknownSuite) };
    let Some(&first) = geometry.client.first() else {
        return match geometry.rest {
            Rest::Closed => unknown(UnknownReason::Incomplete),
            _ => Inference::Wait,
        };
    };
    if sizes.is_alert(first) {
        return match (geometry.client.len(), geometry.rest) {
            (1, Rest::Closed) => Inference::Aborted,
            (1, _) => Inference::Wait,
            _ => unknown(unrecognised(geometry)),
        };
    }
    let mut waits = false;
    for padding in PADDINGS {
        match sizes.client_flight(geometry, padding) {
            Step::Found(Flight::Finished) => return geometry.decide(sizes, Flight::Finished, 1),
            Step::Found(flight) => {
                return geometry.decide(sizes, flight, flight.records(geometry.client, sizes));
            }
            Step::Wait => waits = true,
            Step::No => {}
        }
    }
    if waits {
        return Inference::Wait;
    }
    match sizes.coalesced(geometry) {
        Step::Found(flight) => geometry.decide(sizes, flight, 1),
        Step::Wait => Inference::Wait,
        Step::No => unknown(unrecognised(geometry)),
    }
}

/// Whether a record can be an alert.
pub(super) fn is_alert_sized(suite: u16, length: u16) -> bool {
    record_sizes(suite).is_some_and(|sizes| sizes.is_alert(length))
}

/// Whether the client's records contain the end of early data that was accepted: EndOfEarlyData and Finished, or
/// Finished at once if the server took the key but not the data. `None`: not yet.
pub(super) fn ends_early_data(suite: u16, client: &[u16]) -> Option<bool> {
    const END_OF_EARLY_DATA: u16 = 4;
    let Some(sizes) = record_sizes(suite) else { return Some(false) };
    let found = PADDINGS.iter().any(|padding| {
        let finished = sizes.finished() + padding;
        client.first() == Some(&finished)
            || client.windows(2).any(|pair| pair == [END_OF_EARLY_DATA + sizes.overhead + padding, finished])
    });
    found.then_some(true)
}

/// Bytes of the Certificate message, with its header, in the records of a whole flight that sends each message in records
/// of its own. `None`: not such a flight.
pub(super) fn certificate_length(suite: u16, flight: &[u16], sender: Direction) -> Option<u32> {
    let sizes = record_sizes(suite)?;
    PADDINGS.into_iter().find_map(|padding| {
        let candidates = match sender {
            Direction::Client => [Some(flight), None],
            // EncryptedExtensions, perhaps CertificateRequest.
            Direction::Server => [flight.get(1..), flight.get(2..)],
        };
        let records =
            candidates.into_iter().flatten().find(|records| sizes.is_certified_end(records, padding))?;
        let (total, count) = sizes.message(records)?;
        total.checked_sub(u32::try_from(count).ok()? * u32::from(sizes.overhead + padding))
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flight {
    Finished,
    EmptyCertificate,
    EmptyCertificateCoalesced,
    Certificate,
    CertificateCoalesced,
}

enum Step {
    Found(Flight),
    Wait,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerFlight {
    Requested,
    NotRequested,
    NotTelling,
}

impl Flight {
    fn records(self, client: &[u16], sizes: RecordSizes) -> usize {
        match self {
            Flight::Finished | Flight::EmptyCertificateCoalesced | Flight::CertificateCoalesced => 1,
            Flight::EmptyCertificate => 2,
            Flight::Certificate => sizes.message(client).map_or(client.len(), |(_, records)| records) + 2,
        }
    }
}

impl RecordSizes {
    fn finished(self) -> u16 {
        self.finished + self.overhead
    }

    fn is_alert(self, length: u16) -> bool {
        PADDINGS.iter().any(|padding| length == 2 + self.overhead + padding)
    }

    /// The first message: its total length and how many records it takes. `None`: it goes on beyond those seen.
    fn message(self, records: &[u16]) -> Option<(u32, usize)> {
        let mut total = 0;
        for (index, &length) in records.iter().enumerate() {
            total += u32::from(length);
            if length < FULL_RECORD + self.overhead {
                return Some((total, index + 1));
            }
        }
        None
    }

    /// Rules 3 to 5: one message per record.
    fn client_flight(self, geometry: Geometry<'_>, padding: u16) -> Step {
        let finished = self.finished() + padding;
        let empty = EMPTY_CERTIFICATE + self.overhead + padding;
        let client = geometry.client;
        let missing = if geometry.rest == Rest::Open { Step::Wait } else { Step::No };
        match client {
            [] => missing,
            [first, ..] if *first == finished => Step::Found(Flight::Finished),
            [first, ..] if *first == EMPTY_CERTIFICATE + finished => {
                Step::Found(Flight::EmptyCertificateCoalesced)
            }
            [first] if *first == empty => missing,
            [first, second, ..] if *first == empty && *second == finished => {
                Step::Found(Flight::EmptyCertificate)
            }
            _ => {
                let Some((certificate, records)) = self.message(client) else { return missing };
                if certificate < MIN_CERTIFICATE {
                    return Step::No;
                }
                match client[records..] {
                    [] => missing,
                    [verify] if self.is_certificate_verify(verify, padding) => missing,
                    [verify, last, ..] if self.is_certificate_verify(verify, padding) && last == finished => {
                        Step::Found(Flight::Certificate)
                    }
                    _ => Step::No,
                }
            }
        }
    }

    /// Rule 6: all in one record; what follows must differ, or it is padding.
    fn coalesced(self, geometry: Geometry<'_>) -> Step {
        let [first, following @ ..] = geometry.client else { return Step::No };
        let least = EMPTY_CERTIFICATE + self.finished() + MIN_COALESCED;
        // Refused early data looks like anything.
        if *first < least || *first >= FULL_RECORD + self.overhead || geometry.early_data {
            return Step::No;
        }
        let block_padded = self.is_block_padded(*first);
        match (following, geometry.rest) {
            ([], Rest::Open) => Step::Wait,
            // Nothing follows that could differ, and the size is a round one.
            ([], Rest::Answered) if block_padded => Step::Wait,
            ([], Rest::Closed) if block_padded => Step::No,
            ([], _) => Step::Found(Flight::CertificateCoalesced),
            (following, _) if following.iter().take(2).any(|length| length == first) => Step::No,
            // Two round sizes are a padding policy, which can hide a Finished in any of them.
            ([second, ..], _) if block_padded && self.is_block_padded(*second) => Step::No,
            _ => Step::Found(Flight::CertificateCoalesced),
        }
    }

    /// Inner plaintext padded to a multiple of a block: its length without the tag.
    fn is_block_padded(self, length: u16) -> bool {
        length.saturating_sub(self.overhead - 1).is_multiple_of(PADDING_BLOCK)
    }

    /// A record with a CertificateVerify: 8 bytes and the signature.
    fn is_certificate_verify(self, length: u16, padding: u16) -> bool {
        let Some(signature) = length.checked_sub(VERIFY_HEADER + self.overhead + padding) else {
            return false;
        };
        matches!(
            signature,
            // Ed25519; ECDSA with P-256, P-384, P-521 (DER: lengths vary); Ed448
            64 | 69..=72 | 100..=104 | 134..=139 | 114
            // RSA of 1024, 2048, 3072, 4096, 8192 bits
            | 128 | 256 | 384 | 512 | 1024
            // ML-DSA-44, -65, -87 (FIPS 204)
            | 2420 | 3309 | 4627
        )
    }

    /// What a server that does not coalesce says by the number of its records.
    fn server_flight(self, flight: Option<&[u16]>) -> ServerFlight {
        let Some(flight) = flight else { return ServerFlight::NotTelling };
        for padding in PADDINGS {
            let [first, rest @ ..] = flight else { return ServerFlight::NotTelling };
            // EncryptedExtensions has at least 6 bytes; real ones stay below 256.
            if !(6 + self.overhead + padding..256).contains(first) {
                return ServerFlight::NotTelling;
            }
            if self.is_certified_end(rest, padding) {
                return ServerFlight::NotRequested;
            }
            // CertificateRequest has at least 4 + 3 + signature_algorithms with one entry (8).
            if let [request, rest @ ..] = rest
                && *request >= 15 + self.overhead + padding
                && self.is_certified_end(rest, padding)
            {
                return ServerFlight::Requested;
            }
        }
        ServerFlight::NotTelling
    }

    /// Certificate, CertificateVerify and Finished, each in its own record, and nothing else.
    fn is_certified_end(self, records: &[u16], padding: u16) -> bool {
        self.message(records).is_some_and(|(certificate, count)| {
            certificate >= MIN_CERTIFICATE
                && matches!(records[count..], [verify, last]
                    if self.is_certificate_verify(verify, padding) && last == self.finished() + padding)
        })
    }
}

impl Geometry<'_> {
    fn decide(self, sizes: RecordSizes, flight: Flight, records: usize) -> Inference {
        let presented = matches!(flight, Flight::Certificate | Flight::CertificateCoalesced);
        let authentication = match (flight, sizes.server_flight(self.server_flight)) {
            (Flight::Finished, ServerFlight::Requested) => {
                ClientAuthentication::Unknown(UnknownReason::Contradiction)
            }
            (Flight::Finished, server) => {
                ClientAuthentication::NotRequested(sight(server == ServerFlight::NotRequested))
            }
            (_, ServerFlight::NotRequested) => ClientAuthentication::Unknown(UnknownReason::Contradiction),
            (_, server) if presented => {
                ClientAuthentication::Presented(sight(server == ServerFlight::Requested))
            }
            (_, server) => ClientAuthentication::RequestedNoneSent(sight(server == ServerFlight::Requested)),
        };
        Inference::Decided { authentication, records }
    }
}

fn sight(witnessed: bool) -> Sight {
    if witnessed { Sight::InferredHigh } else { Sight::InferredMedium }
}

fn unrecognised(geometry: Geometry<'_>) -> UnknownReason {
    if geometry.early_data { UnknownReason::EarlyData } else { UnknownReason::PaddingOrUnrecognised }
}

fn unknown(reason: UnknownReason) -> Inference {
    Inference::Decided { authentication: ClientAuthentication::Unknown(reason), records: 1 }
}
