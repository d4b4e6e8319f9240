//! Cassandra's native protocol, versions 3 to 5, by its frames, and what its password authenticator is told.

use super::cursor::{Cursor, OVER, Seen, crossed, ensure, heard, plain_has_password, settle};
use super::{Credential, Dialogue, Match};

const RESPONSE: u8 = 0x80;
const ERROR: u8 = 0x00;
const STARTUP: u8 = 0x01;
const AUTHENTICATE: u8 = 0x03;
const OPTIONS: u8 = 0x05;
const SUPPORTED: u8 = 0x06;
const AUTH_RESPONSE: u8 = 0x0f;
/// Bodies that are compressed, or have something before them that is not looked for.
const OBSCURED: u8 = 0x0f;
/// Longest body of a STARTUP that is believed: a few short strings.
const MAX_STARTUP: usize = 4096;

/// By the client's STARTUP, or by its OPTIONS and the server's answer.
pub(super) fn cassandra(client: &[u8], server: &[u8]) -> Match {
    match first_frame(client) {
        Ok(STARTUP) => Match::Yes,
        Ok(_) => settle(answer(server), server),
        Err(reason) => settle(Err(reason), client),
    }
}

struct Frame {
    version: u8,
    flags: u8,
    opcode: u8,
    length: usize,
}

fn frame(cursor: &mut Cursor) -> Seen<Frame> {
    let version = cursor.byte()?;
    ensure(matches!(version & !RESPONSE, 3..=6))?;
    let flags = cursor.byte()?;
    ensure(flags <= 0x1f)?;
    let _stream = cursor.take(2)?;
    Ok(Frame { version, flags, opcode: cursor.byte()?, length: cursor.big(4)? })
}

fn first_frame(client: &[u8]) -> Seen<u8> {
    let mut client = Cursor::new(client);
    let frame = frame(&mut client)?;
    ensure(frame.version & RESPONSE == 0)?;
    match frame.opcode {
        OPTIONS => ensure(frame.length == 0)?,
        STARTUP => {
            ensure((4..=MAX_STARTUP).contains(&frame.length))?;
            ensure((1..=32).contains(&client.big(2)?))?;
            let name = client.big(2)?;
            ensure((4..=64).contains(&name))?;
            // CQL_VERSION, COMPRESSION, DRIVER_NAME, …
            let name = client.take(name)?;
            ensure(name.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_'))?;
        }
        _ => return Err(Match::No),
    }
    Ok(frame.opcode)
}

fn answer(server: &[u8]) -> Seen<()> {
    let frame = frame(&mut Cursor::new(server))?;
    ensure(frame.version & RESPONSE != 0 && matches!(frame.opcode, SUPPORTED | ERROR) && frame.length > 1)
}

/// Compressed bodies are not looked at.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    heard(opening(Cursor::new(client), Cursor::new(server)))
}

fn opening(mut client: Cursor, mut server: Cursor) -> Seen<Dialogue> {
    let version = loop {
        let frame = frame(&mut server)?;
        let mut body = Cursor::whole(server.take(frame.length)?);
        match frame.opcode {
            SUPPORTED => {}
            AUTHENTICATE if frame.flags & OBSCURED == 0 => {
                let length = body.big(2)?;
                let class = body.take(length)?;
                // Also its descendants and those of other vendors.
                ensure(
                    class.ends_with(b"PasswordAuthenticator")
                        || class.ends_with(b"TransitionalAuthenticator"),
                )?;
                break frame.version & !RESPONSE;
            }
            _ => return Ok(OVER),
        }
    };
    loop {
        let frame = frame(&mut client)?;
        if frame.opcode == AUTH_RESPONSE {
            return response(frame, client);
        }
        client.take(frame.length)?;
        // Version 5 puts what follows STARTUP into segments: a length, a flag and a checksum (its section 2.2).
        if version >= 5 && frame.opcode == STARTUP {
            client.take(6)?;
        }
    }
}

fn response(frame: Frame, mut client: Cursor) -> Seen<Dialogue> {
    ensure(frame.flags & OBSCURED == 0)?;
    let length = client.big(4)?;
    ensure(length <= frame.length)?;
    let token = client.take(length)?;
    Ok(if plain_has_password(token) { crossed(Credential::CassandraPassword) } else { OVER })
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Protocol, examine};

    const CLASS: &[u8] = b"org.apache.cassandra.auth.PasswordAuthenticator";

    fn frame_of(version: u8, opcode: u8, body: &[u8]) -> Vec<u8> {
        [&[version, 0, 0, 1, opcode], &u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
    }

    fn startup(version: u8) -> Vec<u8> {
        frame_of(version, STARTUP, b"\0\x01\0\x0bCQL_VERSION\0\x053.0.0")
    }

    fn authenticate(version: u8, class: &[u8]) -> Vec<u8> {
        let length = u16::try_from(class.len()).unwrap().to_be_bytes();
        frame_of(version | RESPONSE, AUTHENTICATE, &[&length, class].concat())
    }

    #[test]
    fn a_server_is_recognised_by_how_it_is_started_up() {
        for version in [3, 4, 5] {
            assert_all_prefixes(Protocol::Cassandra, &startup(version), b"");
            let supported = frame_of(version | RESPONSE, SUPPORTED, b"\0\0");
            assert_all_prefixes(Protocol::Cassandra, &frame_of(version, OPTIONS, b""), &supported);
        }
        // OPTIONS alone could also be another's: SOCKS 4 to 5.0.0.0.
        assert_eq!(cassandra(b"\x04\x01\0\x50\x05\0\0\0\0", b"\0\x5a\0\0\0\0\0\0"), Match::No);
        // Remote Desktop.
        assert_eq!(cassandra(b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x0b\0\0\0", b""), Match::No);
    }

    #[test]
    fn a_password_is_seen_where_it_was_asked_for() {
        let token = b"\0\0\0\x0c\0anna\0secret";
        let answer = frame_of(4, AUTH_RESPONSE, token);
        let client = [frame_of(4, OPTIONS, b""), startup(4), answer].concat();
        let supported = frame_of(4 | RESPONSE, SUPPORTED, b"\0\0");
        let server = [supported.clone(), authenticate(4, CLASS)].concat();
        assert_eq!(examine(&client, &server).dialogue, crossed(Credential::CassandraPassword));
        assert_eq!(examine(&client, &supported).dialogue, Dialogue::default());
        let server = [supported, authenticate(4, b"com.example.KerberosAuthenticator")].concat();
        assert_eq!(examine(&client, &server).dialogue, OVER);

        let segmented =
            [&startup(5)[..], b"\x15\0\x02abc", &frame_of(5, AUTH_RESPONSE, token), b"abcd"].concat();
        assert_eq!(
            examine(&segmented, &authenticate(5, CLASS)).dialogue,
            crossed(Credential::CassandraPassword)
        );
    }
}
