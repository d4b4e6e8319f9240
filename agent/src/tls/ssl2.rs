//! SSLv2's format (draft-hickman-netscape-ssl-00): hellos in it, of clients that offer SSLv3 or TLS that way too
//! (RFC 5246 appendix E.2), and the rare connection that goes on with it.
//!
//! ```text
//! 1LLLLLLL LLLLLLLL  01  version  cipher specs'  session ID's  challenge's length ...   CLIENT-HELLO
//!                    04  hit, certificate type, version, three lengths ...              SERVER-HELLO
//! ```
//!
//! Of what follows a SERVER-HELLO only CLIENT-MASTER-KEY is in clear: a request for a client certificate is not.

use bytes::Bytes;

use super::handshake::Handshake;
use super::hello::SessionId;
use super::message::{Cursor, kind};
use super::{
    ClientAuthentication, HandshakeState, IncompleteReason, Resumption, ServerAuthentication, UnknownReason,
    Version,
};

pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const CLIENT_MASTER_KEY: u8 = 2;
pub(super) const SERVER_HELLO: u8 = 4;
/// Header of a record without padding: the high bit, and 15 bits of length.
pub(super) const HEADER: usize = 2;
const LENGTH_MARK: u8 = 0x80;
/// Bytes of a hello that tell it: header, type, and what [`client_lengths`] and [`server_lengths`] read.
pub(super) const HELLO_PREFIX: usize = 13;
/// A certificate in X.509.
const X509: u8 = 1;
const VERSION: u16 = 0x0002;
/// Bytes of a random in TLS: a challenge is at most as long.
const RANDOM: usize = 32;
/// Least challenge and connection ID.
const MIN_RANDOM: usize = 16;

/// What a hello from a client says.
#[derive(Debug)]
pub(super) struct ClientHello {
    pub version: Option<Version>,
    /// The challenge, as ClientHello.random: with zeros in front (RFC 5246 appendix E.2).
    pub random: [u8; RANDOM],
    pub session_id: Option<SessionId>,
}

/// What a server's says.
#[derive(Debug)]
pub(super) struct ServerHello {
    pub resumes: bool,
    pub certificate: Option<Bytes>,
}

/// Length of the record, if the header is of this format.
pub(super) fn record_length(header: [u8; HEADER]) -> Option<u16> {
    let [high, low] = header;
    (high & LENGTH_MARK != 0).then(|| u16::from_be_bytes([high & !LENGTH_MARK, low]))
}

/// Whether these are the first bytes of a hello in this format; `None`: too few to tell.
pub(super) fn is_hello(prefix: &[u8]) -> Option<bool> {
    if prefix.first().is_some_and(|first| first & LENGTH_MARK == 0)
        || prefix.get(2).is_some_and(|message| ![CLIENT_HELLO, SERVER_HELLO].contains(message))
        // SSLv2 to TLS 1.2; hit and certificate type.
        || prefix.get(3).is_some_and(|&first| first > 3)
        || prefix.get(4).is_some_and(|&second| second > 3)
    {
        return Some(false);
    }
    let head: &[u8; HELLO_PREFIX] = prefix.first_chunk()?;
    let length = usize::from(record_length([head[0], head[1]])?);
    let wanted =
        if head[2] == CLIENT_HELLO { client_lengths(&head[3..]) } else { server_lengths(&head[3..]) };
    Some(wanted.is_some_and(|(fixed, lengths)| fixed + lengths.iter().sum::<usize>() == length))
}

/// Bytes of the fixed part, and the lengths of cipher specs, session ID and challenge.
fn client_lengths(after_type: &[u8]) -> Option<(usize, [usize; 3])> {
    let mut cursor = Cursor(after_type);
    let version = cursor.u16()?;
    let lengths = [cursor.u16()?, cursor.u16()?, cursor.u16()?].map(usize::from);
    let [specs, session, challenge] = lengths;
    let fits = (version == VERSION || (0x0300..=0x0303).contains(&version))
        && specs > 0
        && specs.is_multiple_of(3)
        && matches!(session, 0 | 16 | 32)
        && (MIN_RANDOM..=RANDOM).contains(&challenge);
    fits.then_some((9, lengths))
}

/// The same of a server's: certificate, cipher specs, connection ID.
fn server_lengths(after_type: &[u8]) -> Option<(usize, [usize; 3])> {
    let mut cursor = Cursor(after_type);
    let (hit, _certificate_type, version) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
    let lengths = [cursor.u16()?, cursor.u16()?, cursor.u16()?].map(usize::from);
    let [_, specs, connection] = lengths;
    let fits = hit <= 1
        && version == VERSION
        && specs.is_multiple_of(3)
        && (MIN_RANDOM..=RANDOM).contains(&connection);
    fits.then_some((11, lengths))
}

/// CLIENT-HELLO, from its type on.
pub(super) fn client_hello(message: &[u8]) -> Result<ClientHello, IncompleteReason> {
    let read = || {
        let mut cursor = Cursor(message.get(1..)?);
        let (_, [specs, session, challenge]) = client_lengths(cursor.0)?;
        let version = cursor.u16()?;
        cursor.take(6 + specs)?;
        let session_id = cursor.take(session)?;
        let challenge = cursor.take(challenge)?;
        let mut random = [0; RANDOM];
        random.get_mut(RANDOM - challenge.len()..)?.copy_from_slice(challenge);
        let version = if version == VERSION { Some(Version::Ssl2) } else { Version::from_wire(version) };
        Some(ClientHello { version, random, session_id: SessionId::of(session_id) })
    };
    read().ok_or(IncompleteReason::Malformed)
}

/// SERVER-HELLO, from its type on.
pub(super) fn server_hello(message: &[u8]) -> Result<ServerHello, IncompleteReason> {
    let read = || {
        let mut cursor = Cursor(message.get(1..)?);
        let (_, [certificate, _, _]) = server_lengths(cursor.0)?;
        let (hit, certificate_type) = (cursor.u8()?, cursor.u8()?);
        cursor.take(8)?;
        let certificate = cursor.take(certificate)?;
        let shown = certificate_type == X509 && !certificate.is_empty();
        Some(ServerHello {
            resumes: hit == 1,
            certificate: shown.then(|| Bytes::copy_from_slice(certificate)),
        })
    };
    read().ok_or(IncompleteReason::Malformed)
}

/// Sets the facts of a connection that goes on in SSLv2. Returns whether they are final.
pub(super) fn conclude(handshake: &mut Handshake) -> bool {
    let hello_end = handshake.server.outline.find(kind::SERVER_HELLO).map_or(0, |entry| entry.end);
    let (client, server) = (&handshake.client, &handshake.server);
    let master_key_end = client.outline.find(kind::CLIENT_KEY_EXCHANGE).map(|entry| entry.end);
    // The client went on once it had what the server sends with the new key; after an error it would not.
    let went_on = server.seen_to() > hello_end
        && client.last_acknowledged() > hello_end
        && master_key_end.is_some_and(|end| client.seen_to() > end);
    let facts = &mut handshake.facts;
    facts.client_authentication = ClientAuthentication::Unknown(UnknownReason::VersionNotEvaluated);
    facts.server_authentication = match (facts.resumption, facts.server_chain.is_empty()) {
        (Resumption::SessionId, _) => ServerAuthentication::Resumed,
        (_, false) => ServerAuthentication::Certificate,
        (_, true) => ServerAuthentication::Unknown(UnknownReason::CertificateType),
    };
    if went_on {
        facts.handshake = HandshakeState::Complete;
    }
    handshake.waits = !went_on;
    went_on
}
