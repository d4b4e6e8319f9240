//! Tabular Data Stream (MS-TDS, and TDS 4.2 and 5.0 before it): pre-login, login, TLS in packets.

use super::cursor::{Cursor, OVER, PROTECTED, Seen, crossed, ensure, heard, settle, switched};
use super::{Credential, Dialogue, Match, Upgrade};

const LOGIN_4_AND_5: u8 = 0x02;
const RESPONSE: u8 = 0x04;
const LOGIN_7: u8 = 0x10;
const PRE_LOGIN: u8 = 0x12;
const HEADER: usize = 8;
/// Bytes before the first variable field of LOGIN7 (MS-TDS section 2.2.6.4): sizes, versions, flags, locale.
const LOGIN_7_FIXED: usize = 36;
/// Longest name or password of TDS 4.2 and 5.0.
const FIELD: usize = 30;

/// By the client's first packet.
pub(super) fn tds(client: &[u8], _server: &[u8]) -> Match {
    settle(first_packet(client), client)
}

fn first_packet(client: &[u8]) -> Seen<()> {
    let mut client = Cursor::new(client);
    let (kind, length) = header(&mut client)?;
    match kind {
        // The version is always the first option, behind all options.
        PRE_LOGIN => {
            client.expect(&[0])?;
            let offset = client.big(2)?;
            ensure((6..length).contains(&offset) && offset % 5 == 1)?;
            ensure(client.big(2)? == 6)?;
            ensure(matches!(client.byte()?, 1..=8 | 0xff))
        }
        LOGIN_7 => {
            let size = client.little(4)?;
            ensure(size >= LOGIN_7_FIXED)?;
            // From 0x70000000, of SQL Server 7.0, to 0x74000004.
            ensure((0x70..=0x74).contains(&(client.little(4)? >> 24)))?;
            // The wanted size of packets, or the server's.
            ensure(matches!(client.little(4)?, 0 | 512..=32_768))
        }
        LOGIN_4_AND_5 => {
            let (_host, _user) = (field(&mut client)?, field(&mut client)?);
            field(&mut client).map(|_| ())
        }
        _ => Err(Match::No),
    }
}

/// Type and length of a packet (MS-TDS section 2.2.3.1): status, length, process, number, window.
fn header(cursor: &mut Cursor) -> Seen<(u8, usize)> {
    let kind = cursor.byte()?;
    ensure(matches!(kind, PRE_LOGIN | LOGIN_7 | LOGIN_4_AND_5 | RESPONSE))?;
    ensure(cursor.byte()? <= 1)?;
    let length = cursor.big(2)?;
    ensure(length > HEADER)?;
    let _process_and_number = cursor.take(3)?;
    cursor.expect(&[0])?;
    Ok((kind, length))
}

/// Length of a field of the old login, whose place is filled up with zeros.
fn field(client: &mut Cursor) -> Seen<usize> {
    let place = client.take(FIELD)?;
    let length = usize::from(client.byte()?);
    let (text, filler) = place.split_at_checked(length).ok_or(Match::No)?;
    ensure(!text.contains(&0) && filler.iter().all(|&byte| byte == 0))?;
    Ok(length)
}

/// Once both sides agree on encryption, a TLS handshake follows in packets of this protocol: what is behind the switch
/// begins with their headers. With `ENCRYPT_OFF` on both sides only the login is encrypted, and everything else is in clear:
/// that is no connection in TLS.
///
/// The password of a login in clear is disguised by a fixed table.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    heard(opening(Cursor::new(client), Cursor::new(server)))
}

fn opening(mut client: Cursor, mut server: Cursor) -> Seen<Dialogue> {
    let (kind, length) = header(&mut client)?;
    if kind != PRE_LOGIN {
        return login(kind, client);
    }
    let offered = encryption(client.take(length - HEADER)?)?;
    let (_, length) = header(&mut server)?;
    let answered = encryption(server.take(length - HEADER)?)?;
    const OFF: u8 = 0;
    const NOT_SUPPORTED: u8 = 2;
    if answered == OFF && offered != NOT_SUPPORTED {
        return Ok(PROTECTED);
    }
    if offered != NOT_SUPPORTED && answered != NOT_SUPPORTED {
        return Ok(switched(Upgrade::Tds, &client, &server));
    }
    let (kind, _) = header(&mut client)?;
    login(kind, client)
}

/// The option of that name (MS-TDS section 2.2.6.5), without the bit for client certificates.
fn encryption(options: &[u8]) -> Seen<u8> {
    const ENCRYPTION: u8 = 1;
    const TERMINATOR: u8 = 0xff;
    let mut cursor = Cursor::whole(options);
    loop {
        let token = cursor.byte()?;
        ensure(token != TERMINATOR)?;
        let (offset, _length) = (cursor.big(2)?, cursor.big(2)?);
        if token == ENCRYPTION {
            return options.get(offset).map(|value| value & 0x7f).ok_or(Match::No);
        }
    }
}

fn login(kind: u8, mut client: Cursor) -> Seen<Dialogue> {
    let length = match kind {
        LOGIN_7 => {
            // Places and lengths of host, user, and password.
            client.take(LOGIN_7_FIXED + 4 + 4 + 2)?;
            client.little(2)?
        }
        LOGIN_4_AND_5 => {
            client.take(2 * (FIELD + 1) + FIELD)?;
            usize::from(client.byte()?)
        }
        _ => return Err(Match::No),
    };
    Ok(if length == 0 { OVER } else { crossed(Credential::TdsPassword) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_all_prefixes, assert_switch};
    use super::*;
    use crate::cleartext::{Protocol, examine};

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + HEADER).unwrap().to_be_bytes();
        [&[kind, 1], &length[..], &[0, 0, 1, 0], body].concat()
    }

    fn options(kind: u8, encryption: u8) -> Vec<u8> {
        packet(kind, &[b"\0\0\x0b\0\x06\x01\0\x11\0\x01\xff\x10\0\x07\xd0\0\0", &[encryption][..]].concat())
    }

    fn login_7(password: u8) -> Vec<u8> {
        let mut body = [0; 94];
        body[..12].copy_from_slice(b"\x5e\0\0\0\x04\0\0\x74\0\x10\0\0");
        body[46] = password;
        packet(LOGIN_7, &body)
    }

    fn login_5(password: &[u8]) -> Vec<u8> {
        let mut body = vec![0; 504];
        for (at, text) in [(0, &b"host"[..]), (31, b"anna"), (62, password)] {
            body[at..at + text.len()].copy_from_slice(text);
            body[at + FIELD] = u8::try_from(text.len()).unwrap();
        }
        packet(LOGIN_4_AND_5, &body)
    }

    #[test]
    fn a_server_is_recognised_by_pre_login_and_login() {
        assert_all_prefixes(Protocol::Tds, &options(PRE_LOGIN, 0), &options(RESPONSE, 0));
        assert_all_prefixes(Protocol::Tds, &login_7(0), b"");
        assert_all_prefixes(Protocol::Tds, &login_5(b"secret")[..crate::tls::PEEK], b"");
        // MQTT's and others' first bytes.
        assert_eq!(tds(b"\x10\x01\0\x30\0\0\x01\0MQTT", b""), Match::NotYet);
        assert_eq!(tds(b"\x10\x01\0\x30\0\0\x01\0MQTTMQTT", b""), Match::No);
        assert_eq!(tds(&[2; 60], b""), Match::No);
    }

    #[test]
    fn tls_begins_after_both_pre_logins() {
        for (client, server) in [(1, 1), (0, 1), (0, 3), (0x81, 1)] {
            assert_switch(&options(PRE_LOGIN, client), &options(RESPONSE, server), Upgrade::Tds, (26, 26));
        }
        assert_eq!(examine(&options(PRE_LOGIN, 0), &options(RESPONSE, 0)).dialogue, PROTECTED);
        assert_eq!(examine(&options(PRE_LOGIN, 0), b"").dialogue, Dialogue::default());
    }

    #[test]
    fn a_password_is_seen_in_a_login_without_tls() {
        let found = crossed(Credential::TdsPassword);
        let said =
            |login: &[u8]| examine(&[&options(PRE_LOGIN, 2), login].concat(), &options(RESPONSE, 2)).dialogue;
        assert_eq!(said(&login_7(6)), found);
        assert_eq!(said(&login_7(0)), OVER);
        assert_eq!(examine(&login_5(b"secret"), b"").dialogue, found);
        assert_eq!(examine(&login_5(b""), b"").dialogue, OVER);
    }
}
