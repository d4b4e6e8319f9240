//! PostgreSQL's protocol 3.0 and later ("Message Formats" of its documentation): start-up, TLS, cleartext password.

use super::cursor::{Cursor, OVER, PROTECTED, Seen, asking, crossed, ensure, heard, settle, switched};
use super::{Credential, Dialogue, Match, Upgrade};

/// Longest start-up packet that its servers accept.
const MAX_STARTUP: usize = 10_000;
const CANCEL_REQUEST: usize = 80_877_102;
const SSL_REQUEST: usize = 80_877_103;
const GSS_REQUEST: usize = 80_877_104;
/// A cancel request's key had 4 bytes, and has up to 256 since protocol 3.2.
const CANCEL_LENGTHS: std::ops::RangeInclusive<usize> = 16..=268;
/// Longest parameter name that is accepted: identifiers have at most 63 bytes.
const MAX_PARAMETER: usize = 63;
/// `user`, the one parameter that is not optional: shorter first names are doubted.
const MIN_PARAMETER: usize = 4;

/// By the client's first packet: a request code, or a version with a parameter's name.
pub(super) fn postgresql(client: &[u8], _server: &[u8]) -> Match {
    settle(first_packet(client), client)
}

fn first_packet(client: &[u8]) -> Seen<()> {
    let mut client = Cursor::new(client);
    client.expect(&[0, 0])?;
    let length = client.big(2)?;
    ensure((8..=MAX_STARTUP).contains(&length))?;
    match client.big(4)? {
        SSL_REQUEST | GSS_REQUEST => ensure(length == 8),
        CANCEL_REQUEST => ensure(CANCEL_LENGTHS.contains(&length)),
        // Kafka has its correlation and client identifiers where the name would be.
        code if code >> 16 == 3 => {
            let name =
                client.text(MAX_PARAMETER, |byte| byte.is_ascii_alphabetic() || b"_.".contains(byte))?;
            ensure(name.len() >= MIN_PARAMETER)
        }
        _ => Err(Match::No),
    }
}

/// Encryption with GSS-API (`G`) is no TLS: it ends what is listened to.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    heard(opening(Cursor::new(client), Cursor::new(server)))
}

fn opening(mut client: Cursor, mut server: Cursor) -> Seen<Dialogue> {
    loop {
        let length = client.big(4)?;
        let code = client.big(4)?;
        match code {
            SSL_REQUEST | GSS_REQUEST => match server.byte() {
                Ok(b'S') if code == SSL_REQUEST => {
                    return Ok(switched(Upgrade::Postgresql, &client, &server));
                }
                Ok(b'N') => {}
                Ok(b'G') if code == GSS_REQUEST => return Ok(PROTECTED),
                Err(_) => return Ok(asking()),
                // An error: the client may do without TLS or not at all.
                Ok(_) => return Ok(Dialogue { asked: true, ..OVER }),
            },
            code if code >> 16 == 3 => {
                client.take(length.saturating_sub(8))?;
                return authentication(client, server);
            }
            _ => return Ok(OVER),
        }
    }
}

/// What the server asks for after the start-up packet decides what the client's next message is.
fn authentication(mut client: Cursor, mut server: Cursor) -> Seen<Dialogue> {
    const CLEARTEXT_PASSWORD: usize = 3;
    loop {
        let kind = server.byte()?;
        let length = server.big(4)?;
        ensure(length >= 4)?;
        match kind {
            b'R' if server.big(4)? == CLEARTEXT_PASSWORD => break,
            b'R' => return Ok(OVER),
            // A notice, or the negotiation of a version.
            b'N' | b'v' => {
                server.take(length - 4)?;
            }
            _ => return Ok(OVER),
        }
    }
    client.expect(b"p")?;
    client.big(4)?;
    Ok(if client.byte()? == 0 { OVER } else { crossed(Credential::PostgresqlPassword) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_all_prefixes, assert_switch};
    use super::*;
    use crate::cleartext::{Protocol, examine};

    const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
    const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
    const STARTUP: &[u8] = b"\0\0\0\x1c\0\x03\0\0user\0anna\0database\0\0";
    const ASKS: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const PASSWORD: &[u8] = b"p\0\0\0\x0bsecret\0";

    fn startup() -> Vec<u8> {
        let body = b"\0\x03\0\0user\0anna\0database\0shop\0\0";
        [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_server_is_recognised_by_its_clients_request() {
        assert_all_prefixes(Protocol::Postgresql, &startup(), b"R\0\0\0\x08\0\0\0\0");
        assert_all_prefixes(Protocol::Postgresql, SSL, b"N");
        assert_all_prefixes(Protocol::Postgresql, GSS, b"N");
        assert_all_prefixes(
            Protocol::Postgresql,
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x12\x34\x56\x78\x9a\xbc",
            b"",
        );
        // Kafka's Metadata request, version 0.
        assert_eq!(postgresql(b"\0\0\0\x18\0\x03\0\0\0\0\0\x01\0\x04rdka\0\0\0\0", b""), Match::No);
        assert_eq!(postgresql(STARTUP, b""), Match::Yes);
    }

    #[test]
    fn tls_begins_where_the_server_agreed() {
        assert_switch(SSL, b"S", Upgrade::Postgresql, (8, 1));
        assert_switch(&[GSS, SSL].concat(), b"NS", Upgrade::Postgresql, (16, 2));
        assert_eq!(examine(SSL, b"").dialogue, asking());
        assert_eq!(examine(&[GSS, b"more"].concat(), b"G").dialogue, PROTECTED);
        assert_eq!(examine(SSL, b"Ewhat").dialogue, Dialogue { asked: true, ..OVER });
    }

    #[test]
    fn a_password_is_seen_only_where_it_was_asked_for_in_clear() {
        let client = [SSL, &startup(), PASSWORD].concat();
        assert_eq!(
            examine(&client, &[b"N", ASKS].concat()).dialogue.credential,
            Some(Credential::PostgresqlPassword)
        );
        for method in [0, 5, 10] {
            let answer = [&b"NR\0\0\0\x0c\0\0\0"[..], &[method, 1, 2, 3, 4]].concat();
            assert_eq!(examine(&client, &answer).dialogue, OVER, "{method}");
        }
        let empty = [SSL, &startup(), b"p\0\0\0\x05\0"].concat();
        assert_eq!(examine(&empty, &[b"N", ASKS].concat()).dialogue, OVER);
    }
}
