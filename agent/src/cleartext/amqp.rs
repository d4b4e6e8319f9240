//! AMQP 0-8 to 1.0 by their protocol header, the password of SASL PLAIN and AMQPLAIN, and AMQP 1.0's TLS.

use super::cursor::{
    Cursor, OVER, Seen, asking, crossed, ensure, heard, plain_has_password, settle, switched,
};
use super::{Credential, Dialogue, Match, Upgrade};

/// Identifier of AMQP 1.0's TLS layer (its specification, part 5, section 2.1).
const TLS: u8 = 2;
/// Identifier of AMQP 1.0's SASL layer (section 3.1).
const SASL: u8 = 3;

/// By the client's protocol header.
pub(super) fn amqp(client: &[u8], _server: &[u8]) -> Match {
    settle(header(&mut Cursor::new(client)).map(|_| ()), client)
}

/// What the header announces: a protocol identifier and a version, or, before 1.0, something of the like.
fn header(client: &mut Cursor) -> Seen<[u8; 4]> {
    client.expect(b"AMQP")?;
    let identifier = client.byte()?;
    ensure(identifier <= SASL)?;
    let rest = client.take(3)?;
    Ok([identifier, rest[0], rest[1], rest[2]])
}

/// The credentials of AMQP 0-10, whose frames are others, are not looked at.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    heard(opening(Cursor::new(client), Cursor::new(server)))
}

fn opening(mut client: Cursor, mut server: Cursor) -> Seen<Dialogue> {
    match header(&mut client)? {
        [TLS, 1, 0, 0] => match server.expect(b"AMQP\x02\x01\0\0") {
            Err(Match::NotYet) => Ok(asking()),
            answer => answer.map(|()| switched(Upgrade::Amqp, &client, &server)),
        },
        [SASL, 1, 0, 0] => sasl(client),
        // 0-9-1, 0-9 and 0-8.
        [0, 0, 9, 1] | [1, 1, 0, 9] | [1, 1, 9, 1] | [1, 1, 8, 0] => start_ok(client),
        _ => Ok(OVER),
    }
}

/// The connection.start-ok of AMQP 0-9-1 (its specification, section 1.4.2.3).
fn start_ok(mut client: Cursor) -> Seen<Dialogue> {
    client.expect(&[1, 0, 0])?;
    let _size = client.big(4)?;
    client.expect(&[0, 10, 0, 11])?;
    let properties = client.big(4)?;
    client.take(properties)?;
    let length = client.byte()?;
    let mechanism = client.take(usize::from(length))?;
    let length = client.big(4)?;
    let response = client.take(length)?;
    let has_password = match mechanism {
        b"PLAIN" => plain_has_password(response),
        b"AMQPLAIN" => table_has_password(response),
        _ => false,
    };
    Ok(if has_password { crossed(Credential::AmqpPlain) } else { OVER })
}

/// AMQPLAIN is a table with a LOGIN and a PASSWORD, both long strings.
fn table_has_password(table: &[u8]) -> bool {
    let mut table = Cursor::whole(table);
    let mut entry = || -> Seen<bool> {
        let length = table.byte()?;
        let name = table.take(usize::from(length))?;
        table.expect(b"S")?;
        let length = table.big(4)?;
        table.take(length)?;
        Ok(name == b"PASSWORD" && length > 0)
    };
    // It has two entries.
    (0..2).any(|_| entry() == Ok(true))
}

/// The sasl-init of AMQP 1.0 (part 5, section 3.3.3.2): a frame with a described list.
fn sasl(mut client: Cursor) -> Seen<Dialogue> {
    let size = client.big(4)?;
    let offset = client.byte()?;
    // Type SASL, then two bytes that it ignores.
    client.expect(&[1])?;
    client.take(2)?;
    ensure(offset >= 2)?;
    let header = usize::from(offset) * 4;
    client.take(header - 8)?;
    let mut body = Cursor::whole(client.take(size.checked_sub(header).ok_or(Match::No)?)?);
    body.expect(&[0])?;
    match body.byte()? {
        // A descriptor in one byte or in eight.
        0x53 => body.expect(&[0x41])?,
        0x80 => body.expect(&[0, 0, 0, 0, 0, 0, 0, 0x41])?,
        _ => return Err(Match::No),
    }
    match body.byte()? {
        0xc0 => body.take(1 + 1)?,
        0xd0 => body.take(4 + 4)?,
        _ => return Err(Match::No),
    };
    let mechanism = variable(&mut body, 0xa3)?;
    let response = variable(&mut body, 0xa0).unwrap_or_default();
    Ok(if mechanism == b"PLAIN" && plain_has_password(response) {
        crossed(Credential::AmqpPlain)
    } else {
        OVER
    })
}

/// A value of variable width: `short` is the constructor of the one with a length in one byte, and `short + 16` of
/// that with four (part 1, section 1.2).
fn variable<'a>(body: &mut Cursor<'a>, short: u8) -> Seen<&'a [u8]> {
    let constructor = body.byte()?;
    ensure(constructor == short || constructor == short + 0x10)?;
    let length = body.big(if constructor == short { 1 } else { 4 })?;
    body.take(length)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_all_prefixes, assert_switch};
    use super::*;
    use crate::cleartext::{Protocol, examine};

    fn start_ok_of(mechanism: &[u8], response: &[u8]) -> Vec<u8> {
        let body = [
            &b"\0\x0a\0\x0b\0\0\0\x0e\x07productS\0\0\0\x01x"[..],
            &[u8::try_from(mechanism.len()).unwrap()],
            mechanism,
            &u32::try_from(response.len()).unwrap().to_be_bytes(),
            response,
            b"\x05en_US",
        ]
        .concat();
        let size = u32::try_from(body.len()).unwrap().to_be_bytes();
        [b"AMQP\0\0\x09\x01\x01\0\0", &size[..], &body, b"\xce"].concat()
    }

    fn sasl_init_of(mechanism: &[u8], response: &[u8]) -> Vec<u8> {
        let list = [
            &[0xa3, u8::try_from(mechanism.len()).unwrap()],
            mechanism,
            &[0xa0, u8::try_from(response.len()).unwrap()],
            response,
        ]
        .concat();
        let body = [&[0, 0x53, 0x41, 0xc0, u8::try_from(list.len() + 1).unwrap(), 2], &list[..]].concat();
        let size = u32::try_from(body.len() + 8).unwrap().to_be_bytes();
        [b"AMQP\x03\x01\0\0", &size[..], b"\x02\x01\0\0", &body].concat()
    }

    #[test]
    fn a_broker_is_recognised_by_the_protocol_header() {
        for header in [
            b"AMQP\0\0\x09\x01",
            b"AMQP\0\x01\0\0",
            b"AMQP\x02\x01\0\0",
            b"AMQP\x03\x01\0\0",
            b"AMQP\x01\x01\0\x0a",
        ] {
            assert_all_prefixes(Protocol::Amqp, header, header);
        }
        assert_eq!(amqp(b"AMQP/1.0", b""), Match::No);
    }

    #[test]
    fn a_password_is_seen_in_both_generations() {
        let found = crossed(Credential::AmqpPlain);
        let said = |client: &[u8]| examine(client, b"").dialogue;
        assert_eq!(said(&start_ok_of(b"PLAIN", b"\0guest\0guest")), found);
        assert_eq!(
            said(&start_ok_of(b"AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest")),
            found
        );
        assert_eq!(said(&start_ok_of(b"AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\0")), OVER);
        assert_eq!(said(&start_ok_of(b"EXTERNAL", b"")), OVER);
        assert_eq!(said(&sasl_init_of(b"PLAIN", b"\0guest\0guest")), found);
        assert_eq!(said(&sasl_init_of(b"ANONYMOUS", b"")), OVER);
        assert_eq!(said(&sasl_init_of(b"SCRAM-SHA-256", b"n,,n=guest,r=abc")), OVER);
    }

    #[test]
    fn tls_begins_after_both_headers() {
        assert_switch(b"AMQP\x02\x01\0\0", b"AMQP\x02\x01\0\0", Upgrade::Amqp, (8, 8));
        assert_eq!(examine(b"AMQP\x02\x01\0\0", b"AMQP\x03\x01\0\0").dialogue, OVER);
    }
}
