//! MQTT 3.1, 3.1.1 and 5 by their CONNECT packet, and whether it has a password.

use super::cursor::{Cursor, OVER, Seen, crossed, ensure, heard, settle};
use super::{Credential, Dialogue, Match};

const WILL: u8 = 1 << 2;
const PASSWORD: u8 = 1 << 6;
const USER_NAME: u8 = 1 << 7;
/// Set by brokers that connect to others as a bridge (Mosquitto's `try_private`).
const BRIDGE: u8 = 0x80;

/// By the client's first packet, which has the protocol's name in it.
pub(super) fn mqtt(client: &[u8], _server: &[u8]) -> Match {
    settle(connect(&mut Cursor::new(client)).map(|_| ()), client)
}

/// Version and flags.
fn connect(client: &mut Cursor) -> Seen<(u8, u8)> {
    client.expect(&[0x10])?;
    ensure(variable(client)? >= 10)?;
    client.expect(&[0])?;
    let level = match client.byte()? {
        4 => {
            client.expect(b"MQTT")?;
            client.byte()?
        }
        6 => {
            client.expect(b"MQIsdp")?;
            client.byte()?
        }
        _ => return Err(Match::No),
    };
    ensure(matches!(level & !BRIDGE, 3..=5))?;
    let flags = client.byte()?;
    ensure(flags & 1 == 0)?;
    Ok((level & !BRIDGE, flags))
}

/// A number in at most four bytes of seven bits (MQTT 5 section 1.5.5).
fn variable(client: &mut Cursor) -> Seen<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = client.byte()?;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Match::No)
}

/// Tokens that are sent with MQTT 5's enhanced authentication are not looked at.
pub(super) fn listen(client: &[u8], _server: &[u8]) -> Dialogue {
    heard(payload(Cursor::new(client)))
}

fn payload(mut client: Cursor) -> Seen<Dialogue> {
    let (level, flags) = connect(&mut client)?;
    if flags & PASSWORD == 0 {
        return Ok(OVER);
    }
    let _keep_alive = client.take(2)?;
    let skip_properties = |client: &mut Cursor| match level {
        5 => variable(client).and_then(|length| client.take(length)).map(|_| ()),
        _ => Ok(()),
    };
    skip_properties(&mut client)?;
    let _client_identifier = string(&mut client)?;
    if flags & WILL != 0 {
        skip_properties(&mut client)?;
        let _topic = string(&mut client)?;
        let _message = string(&mut client)?;
    }
    if flags & USER_NAME != 0 {
        string(&mut client)?;
    }
    Ok(if client.big(2)? == 0 { OVER } else { crossed(Credential::MqttPassword) })
}

fn string<'a>(client: &mut Cursor<'a>) -> Seen<&'a [u8]> {
    let length = client.big(2)?;
    client.take(length)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Protocol, examine};

    fn connect_of(name: &[u8], level: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let body = [&[0, u8::try_from(name.len()).unwrap()], name, &[level, flags, 0, 60], payload].concat();
        [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()
    }

    #[test]
    fn a_broker_is_recognised_by_the_packet_that_connects_to_it() {
        for (name, level) in [(&b"MQIsdp"[..], 3), (b"MQTT", 4), (b"MQTT", 5), (b"MQIsdp", 0x83)] {
            assert_all_prefixes(
                Protocol::Mqtt,
                &connect_of(name, level, 2, b"\0\0\0\x04anna"),
                b"\x20\x02\0\0",
            );
        }
        assert_eq!(mqtt(b"\x10\x01\0\x30\0\0\0\0", b""), Match::No);
        assert_eq!(mqtt(&connect_of(b"MQTT", 9, 2, b"\0\0"), b""), Match::No);
    }

    #[test]
    fn a_password_is_seen_behind_everything_that_is_before_it() {
        let found = crossed(Credential::MqttPassword);
        let said =
            |level, flags, payload: &[u8]| examine(&connect_of(b"MQTT", level, flags, payload), b"").dialogue;
        assert_eq!(said(4, 0xc2, b"\0\x01c\0\x04anna\0\x06secret"), found);
        assert_eq!(said(5, 0xc2, b"\x05\x11\0\0\0\x0a\0\x01c\0\x04anna\0\x06secret"), found);
        assert_eq!(said(4, 0xc6, b"\0\x01c\0\x01t\0\x01m\0\x04anna\0\x06secret"), found);
        assert_eq!(said(5, 0xc6, b"\0\0\x01c\0\0\x01t\0\x01m\0\x04anna\0\x06secret"), found);
        assert_eq!(said(5, 0x42, b"\0\0\x01c\0\x05token"), found);
        assert_eq!(said(4, 0x82, b"\0\x01c\0\x04anna"), OVER);
        assert_eq!(said(4, 0xc2, b"\0\x01c\0\x04anna\0\0"), OVER);
        assert_eq!(said(4, 0xc2, b"\0\x01c\0\x04an"), Dialogue::default());
    }
}
