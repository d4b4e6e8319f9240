//! Kafka's protocol by a request and the answer to it, and SASL PLAIN.

use super::cursor::{Cursor, OVER, Seen, crossed, ensure, heard, plain_has_password, settle};
use super::{Credential, Dialogue, Match};

/// Largest request that brokers accept (socket.request.max.bytes).
const MAX_MESSAGE: usize = 100 << 20;
/// The protocol guide's highest key is below, with room for what comes.
const MAX_KEY: usize = 128;
/// The highest version of any request, with room for what comes.
const MAX_VERSION: usize = 32;
const METADATA: usize = 3;
const SASL_HANDSHAKE: usize = 17;
const API_VERSIONS: usize = 18;
const SASL_AUTHENTICATE: usize = 36;
/// A length of -1, which stands for an absent string.
const ABSENT: usize = 0xffff;

/// By the client's first request and the identifier that the server gives back.
pub(super) fn kafka(client: &[u8], server: &[u8]) -> Match {
    match first_request(client) {
        Ok(correlation) => settle(answer(server, correlation), server),
        Err(reason) => settle(Err(reason), client),
    }
}

struct Request {
    key: usize,
    version: usize,
    correlation: usize,
    /// Bytes of the request that are not read yet.
    rest: usize,
}

fn request(client: &mut Cursor) -> Seen<Request> {
    let size = client.big(4)?;
    ensure((10..=MAX_MESSAGE).contains(&size))?;
    let start = client.at();
    let (key, version) = (client.big(2)?, client.big(2)?);
    ensure(key <= MAX_KEY && version <= MAX_VERSION)?;
    let correlation = client.big(4)?;
    let name = client.big(2)?;
    if name != ABSENT {
        ensure(name <= size - 10)?;
        ensure(client.take(name)?.iter().all(|byte| (0x20..0x7f).contains(byte)))?;
    }
    Ok(Request { key, version, correlation, rest: size - (client.at() - start) })
}

fn first_request(client: &[u8]) -> Seen<usize> {
    let mut header = Cursor::new(client);
    let request = request(&mut header)?;
    // Few bits would be left of a request of zeros, which ZooKeeper's clients send too.
    let is_nameless = header.at() <= 14;
    ensure(matches!(request.key, METADATA | SASL_HANDSHAKE | API_VERSIONS) || !is_nameless)?;
    Ok(request.correlation)
}

fn answer(server: &[u8], correlation: usize) -> Seen<()> {
    let mut server = Cursor::new(server);
    ensure((4..=MAX_MESSAGE).contains(&server.big(4)?))?;
    ensure(server.big(4)? == correlation)
}

/// SASL comes before every request but the one for versions.
pub(super) fn listen(client: &[u8], _server: &[u8]) -> Dialogue {
    heard(opening(Cursor::new(client)))
}

fn opening(mut client: Cursor) -> Seen<Dialogue> {
    let token = loop {
        let handshake = request(&mut client)?;
        let mut body = Cursor::whole(client.take(handshake.rest)?);
        match handshake.key {
            API_VERSIONS => continue,
            SASL_HANDSHAKE => {
                let length = body.big(2)?;
                ensure(body.take(length)? == b"PLAIN")?;
            }
            _ => return Ok(OVER),
        }
        if handshake.version == 0 {
            // What follows is no request: a length and the token.
            let length = client.big(4)?;
            break client.take(length)?;
        }
        let authenticate = request(&mut client)?;
        ensure(authenticate.key == SASL_AUTHENTICATE)?;
        let mut body = Cursor::whole(client.take(authenticate.rest)?);
        break if authenticate.version < 2 {
            let length = body.big(4)?;
            body.take(length)?
        } else {
            // Tagged fields, of which there are none, then a compact string with its length and one in a varint.
            body.expect(&[0])?;
            let low = usize::from(body.byte()?);
            let high = if low < 0x80 { 0 } else { usize::from(body.byte()?) };
            let length = (low & 0x7f) | high << 7;
            body.take(length.saturating_sub(1))?
        };
    };
    Ok(if plain_has_password(token) { crossed(Credential::KafkaPlain) } else { OVER })
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Name, Protocol, examine, name};

    fn request_of(key: u8, version: u8, correlation: u8, body: &[u8]) -> Vec<u8> {
        let header = [0, key, 0, version, 0, 0, 0, correlation, 0, 4, b'r', b'd', b'k', b'a'];
        let size = u32::try_from(header.len() + body.len()).unwrap().to_be_bytes();
        [&size[..], &header, body].concat()
    }

    const ANSWER: &[u8] = b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0";

    #[test]
    fn a_broker_is_recognised_by_request_and_answer() {
        assert_all_prefixes(Protocol::Kafka, &request_of(18, 3, 1, b"\0\x05rdka\x062.0\0"), ANSWER);
        assert_all_prefixes(Protocol::Kafka, &request_of(3, 0, 1, b"\0\0\0\0"), ANSWER);
        assert_eq!(kafka(&request_of(18, 3, 1, b""), b"\0\0\0\x0a\0\0\0\x02"), Match::No);
        // ZooKeeper's first request and its answer.
        let zookeeper = [&b"\0\0\0\x2d"[..], &[0; 14], &[0x75, 0x30], &[0; 11], &[0x10], &[0; 17]].concat();
        assert_ne!(name(&zookeeper, b"\0\0\0\x25\0\0\0\0\0\0\x75\x30"), Name::Found(Protocol::Kafka));
        // SMB over TCP.
        assert_eq!(kafka(b"\0\0\0\x2f\xffSMBr\0\0\0\0\x18\x01\x20\0\0\0\0", b""), Match::No);
    }

    #[test]
    fn a_password_is_seen_in_each_generation() {
        let found = crossed(Credential::KafkaPlain);
        let said = |requests: &[Vec<u8>]| {
            examine(&[request_of(18, 0, 1, b""), requests.concat()].concat(), ANSWER).dialogue
        };
        let token = b"\0anna\0secret";
        let raw = [&b"\0\0\0\x0c"[..], token].concat();
        assert_eq!(said(&[request_of(17, 0, 2, b"\0\x05PLAIN"), raw.clone()]), found);
        assert_eq!(said(&[request_of(17, 1, 2, b"\0\x05PLAIN"), request_of(36, 0, 3, &raw)]), found);
        let compact = [&b"\0\x0d"[..], token, b"\0"].concat();
        assert_eq!(said(&[request_of(17, 1, 2, b"\0\x05PLAIN"), request_of(36, 2, 3, &compact)]), found);
        assert_eq!(said(&[request_of(17, 1, 2, b"\0\x0dSCRAM-SHA-256"), request_of(36, 0, 3, &raw)]), OVER);
        assert_eq!(said(&[request_of(3, 1, 2, b"\0\0\0\0")]), OVER);
    }
}
