//! memcached's binary protocol by a request and its answer, and SASL PLAIN.

use super::cursor::{Cursor, OVER, Seen, crossed, ensure, heard, plain_has_password, settle};
use super::{Credential, Dialogue, Match};

const REQUEST: u8 = 0x80;
const ANSWER: u8 = 0x81;
/// The highest operation of its "Commands"; those of range operations and replication are in between.
const MAX_OPERATION: u8 = 0x49;
const SASL_AUTHENTICATE: u8 = 0x21;
/// Longest key.
const MAX_KEY: usize = 250;
/// Longest fixed fields before a key.
const MAX_EXTRAS: usize = 24;
/// Longest body that is believed: its items have at most 128 MiB (`-I`).
const MAX_BODY: usize = 128 << 20;

/// By the header of the client's first request and that of the answer to it.
pub(super) fn memcached_binary(client: &[u8], server: &[u8]) -> Match {
    match header(&mut Cursor::new(client), REQUEST) {
        Ok(request) => settle(answers(server, &request), server),
        Err(reason) => settle(Err(reason), client),
    }
}

struct Header<'a> {
    operation: u8,
    key: usize,
    extras: usize,
    body: usize,
    opaque: &'a [u8],
}

fn header<'a>(cursor: &mut Cursor<'a>, magic: u8) -> Seen<Header<'a>> {
    cursor.expect(&[magic])?;
    let operation = cursor.byte()?;
    ensure(operation <= MAX_OPERATION)?;
    let key = cursor.big(2)?;
    ensure(key <= MAX_KEY)?;
    let extras = usize::from(cursor.byte()?);
    ensure(extras <= MAX_EXTRAS)?;
    // Raw bytes are the one data type.
    cursor.expect(&[0])?;
    let _bucket_or_status = cursor.take(2)?;
    let body = cursor.big(4)?;
    ensure((key + extras..=MAX_BODY).contains(&body))?;
    let opaque = cursor.take(4)?;
    let _version = cursor.take(8)?;
    Ok(Header { operation, key, extras, body, opaque })
}

/// Requests that ask for silence may be answered only together with a later one.
fn answers(server: &[u8], request: &Header) -> Seen<()> {
    let is_quiet = matches!(request.operation, 0x09 | 0x0d | 0x11..=0x1a | 0x1e | 0x24);
    let answer = header(&mut Cursor::new(server), ANSWER)?;
    ensure(is_quiet || (answer.operation == request.operation && answer.opaque == request.opaque))
}

/// Until a SASL message.
pub(super) fn listen(client: &[u8], _server: &[u8]) -> Dialogue {
    heard(requests(Cursor::new(client)))
}

fn requests(mut client: Cursor) -> Seen<Dialogue> {
    loop {
        let request = header(&mut client, REQUEST)?;
        let mut body = Cursor::whole(client.take(request.body)?);
        if request.operation == SASL_AUTHENTICATE {
            body.take(request.extras)?;
            let is_plain = body.take(request.key)? == b"PLAIN";
            let has_password = is_plain && plain_has_password(body.rest());
            return Ok(if has_password { crossed(Credential::MemcachedPlain) } else { OVER });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Protocol, examine};

    fn message(magic: u8, operation: u8, key: &[u8], value: &[u8]) -> Vec<u8> {
        let lengths = [u8::try_from(key.len()).unwrap(), 0, 0, 0, 0, 0, 0, 0];
        let body = [u8::try_from(key.len() + value.len()).unwrap()];
        [&[magic, operation, 0][..], &lengths, &body, &[1, 2, 3, 4], &[0; 8], key, value].concat()
    }

    #[test]
    fn a_server_is_recognised_by_request_and_answer() {
        assert_all_prefixes(
            Protocol::Memcached,
            &message(REQUEST, 0, b"key", b""),
            &message(ANSWER, 0, b"", b"value"),
        );
        assert_eq!(
            memcached_binary(&message(REQUEST, 0, b"key", b""), &message(ANSWER, 1, b"", b"")),
            Match::No
        );
        assert_eq!(memcached_binary(&message(REQUEST, 0, b"key", b""), b"ERROR\r\n"), Match::No);
        // SSL 2.
        assert_eq!(memcached_binary(b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10", b""), Match::No);
    }

    #[test]
    fn a_password_is_seen_with_the_plain_mechanism_only() {
        let listed = message(ANSWER, 0x20, b"", b"PLAIN");
        let said = |mechanism: &[u8], token: &[u8]| {
            let client =
                [message(REQUEST, 0x20, b"", b""), message(REQUEST, 0x21, mechanism, token)].concat();
            examine(&client, &listed).dialogue
        };
        assert_eq!(said(b"PLAIN", b"\0anna\0secret"), crossed(Credential::MemcachedPlain));
        assert_eq!(said(b"SCRAM-SHA-1", b"n,,n=anna,r=abc"), OVER);
    }
}
