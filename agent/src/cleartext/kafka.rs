//! Kafka's protocol by a request and the answer to it, and SASL PLAIN.

use super::cursor::{Cursor, OVER, Seen, crossed, ensure, heard, plain_has_password, settle};
use super::{Credential, Dialogue, Match};

/// Largest request that brokers accept (socket.request.max.bytes).
const MAX_MESSAGE: usize = 100 << 20;
/// The protocol guide's highest key is below, with room for what comes.
const MAX_KEY: usize = 128;
/// The highest version of any request, with room for what comes.
const MAX_VERSION: usize = 32;
/// Longest name of a topic.
const MAX_TOPIC: usize = 249;
const PRODUCE: usize = 0;
const LIST_OFFSETS: usize = 2;
const METADATA: usize = 3;
const SASL_HANDSHAKE: usize = 17;
const API_VERSIONS: usize = 18;
const SASL_AUTHENTICATE: usize = 36;
/// A length of -1, which stands for an absent string.
const ABSENT: usize = 0xffff;

/// By the client's first request and the identifier that the server gives back; by the request alone where it says enough.
pub(super) fn kafka(client: &[u8], server: &[u8]) -> Match {
    match first_request(client) {
        Ok(First { is_for_topic: true, .. }) => Match::Yes,
        Ok(First { correlation, .. }) => settle(answer(server, correlation), server),
        Err(reason) => settle(Err(reason), client),
    }
}

struct Request {
    key: usize,
    version: usize,
    correlation: usize,
    /// Length of the client's identifier, which may be [`ABSENT`].
    name: usize,
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
    Ok(Request { key, version, correlation, name, rest: size - (client.at() - start) })
}

/// What a client begins with.
struct First {
    correlation: usize,
    /// It was read up to the name of a topic. Its answer may never come: producers can do without.
    is_for_topic: bool,
}

fn first_request(client: &[u8]) -> Seen<First> {
    let mut header = Cursor::new(client);
    let request = request(&mut header)?;
    let is_for_topic = match (request.key, request.name) {
        (METADATA | SASL_HANDSHAKE | API_VERSIONS, _) => false,
        // Few bits would be left of a request of zeros, which ZooKeeper's clients send too.
        (_, 0 | ABSENT) => {
            is_for_topic(&mut header, &request)?;
            true
        }
        _ => false,
    };
    Ok(First { correlation: request.correlation, is_for_topic })
}

/// A request of a client without a name is for a topic, as the first of old consumers and producers is.
/// Flexible versions, which came later, are not looked at.
fn is_for_topic(body: &mut Cursor, request: &Request) -> Seen<()> {
    match (request.key, request.version) {
        (PRODUCE, version @ 0..9) => {
            // No transaction. Acknowledged by nobody, the leader, or all.
            ensure(version < 3 || body.big(2)? == ABSENT)?;
            ensure(matches!(body.big(2)?, 0 | 1 | 0xffff))?;
            ensure(body.big(4)? < 1 << 31)?;
        }
        (LIST_OFFSETS, version @ 0..6) => {
            // Asked by a consumer, not a replica; with or without what is not committed.
            ensure(body.big(4)? == 0xffff_ffff)?;
            ensure(version < 2 || body.byte()? <= 1)?;
        }
        _ => return Err(Match::No),
    }
    ensure((1..=request.rest).contains(&body.big(4)?))?;
    let length = body.big(2)?;
    ensure((1..=MAX_TOPIC.min(request.rest)).contains(&length))?;
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    ensure(body.take(length)?.iter().all(is_legal))
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

    /// The first request of a consumer whose name is empty, not absent: an offset of one partition, latest.
    const LIST_OFFSETS_OF_A_TOPIC: &[u8] =
        b"\0\0\0\x35\0\x02\0\0\0\0\0\x09\0\0\xff\xff\xff\xff\0\0\0\x01\0\x0d\
        payments.eu-1\0\0\0\x01\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x01";

    fn nameless(key: u8, version: u8, body: &[u8]) -> Vec<u8> {
        let header = [0, key, 0, version, 0, 0, 0, 1, 0xff, 0xff];
        let size = u32::try_from(header.len() + body.len()).unwrap().to_be_bytes();
        [&size[..], &header, body].concat()
    }

    #[test]
    fn a_client_without_a_name_is_recognised_by_the_topic_that_it_asks_for() {
        assert_all_prefixes(Protocol::Kafka, LIST_OFFSETS_OF_A_TOPIC, b"");
        const TOPIC: &[u8] = b"\0\0\0\x01\0\x08orders-1\0\0\0\x01\0\0\0\0\0\0\0\0";
        let produce = [b"\xff\xff\0\0\x75\x30", TOPIC].concat();
        let transactional = [b"\xff\xff\0\x01\0\0\x75\x30", TOPIC].concat();
        let committed = [b"\xff\xff\xff\xff\x01", TOPIC].concat();
        for request in [nameless(0, 2, &produce), nameless(0, 3, &transactional), nameless(2, 2, &committed)]
        {
            assert_all_prefixes(Protocol::Kafka, &request, ANSWER);
        }
    }

    #[test]
    fn a_request_without_a_name_and_a_topic_is_not_taken_for_kafka() {
        let topic = |name: &[u8]| [b"\0\x01\0\0\x75\x30\0\0\0\x01\0", &[name.len() as u8][..], name].concat();
        assert_eq!(kafka(&nameless(0, 2, &topic(b"orders")), b""), Match::Yes);
        for request in [
            nameless(0, 2, &topic(b"")),
            nameless(0, 2, &topic(b"or\0ers")),
            nameless(0, 2, &topic(b"or ders")),
            // Acknowledged by two; a negative time to wait; no topic; other versions and requests.
            nameless(0, 2, b"\0\x02\0\0\x75\x30\0\0\0\x01\0\x06orders"),
            nameless(0, 2, b"\0\x01\x80\0\x75\x30\0\0\0\x01\0\x06orders"),
            nameless(0, 2, b"\0\x01\0\0\x75\x30\0\0\0\0\0\x06orders"),
            nameless(0, 3, &topic(b"orders")),
            nameless(0, 9, &topic(b"orders")),
            nameless(1, 2, &topic(b"orders")),
            nameless(2, 0, b"\0\0\0\x01\0\0\0\x01\0\x06orders"),
            nameless(2, 2, b"\xff\xff\xff\xff\x02\0\0\0\x01\0\x06orders"),
        ] {
            assert_eq!(kafka(&request, ANSWER), Match::No, "{request:?}");
        }
        // ZooKeeper's client that comes back: its first transaction is the last that it saw, its session has an id.
        let session = [&b"\x01\x8f\x3c\x5a\x21\0\0\x07\0\0\0\x10"[..], &[7; 16], b"\0"].concat();
        let zookeeper = [&b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\x75\x30"[..], &session].concat();
        assert_eq!(kafka(&zookeeper, b""), Match::No);
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
