//! MySQL's and MariaDB's protocol ("Connection Phase" of their documentation): greeting, TLS, cleartext plugins.

use super::cursor::{Cursor, OVER, Seen, crossed, ensure, heard, settle, switched};
use super::{Credential, Dialogue, Match, Upgrade};

/// Longest greeting or refusal that is believed: version, salt and plugin name take far less.
const MAX_GREETING: usize = 512;
/// Longest version: servers have 60 bytes for it, and MariaDB puts `5.5.5-` before it.
const MAX_VERSION: usize = 66;
/// Bytes of a refusal's text that must be text before it is believed.
const REFUSAL_TEXT: usize = 16;
/// Errors with which a server greets (mysqld_error.h begins at 1000): too many connections, host not allowed, …
const REFUSALS: std::ops::Range<usize> = 1000..2000;
/// Plugins that send the password as it is: MySQL's, and the one that MariaDB's PAM asks for.
const CLEARTEXT_PLUGINS: [&[u8]; 2] = [b"mysql_clear_password", b"dialog"];

const CONNECT_WITH_DATABASE: usize = 1 << 3;
const PROTOCOL_41: usize = 1 << 9;
const SSL: usize = 1 << 11;
const SECURE_CONNECTION: usize = 1 << 15;
const PLUGIN_AUTH: usize = 1 << 19;
const LENGTH_ENCODED: usize = 1 << 21;

/// By the server's greeting, which is always first.
pub(super) fn mysql(client: &[u8], server: &[u8]) -> Match {
    if server.is_empty() && !client.is_empty() {
        return Match::No;
    }
    settle(greeting(server), server)
}

fn greeting(server: &[u8]) -> Seen<()> {
    let mut server = Cursor::new(server);
    let length = server.little(3)?;
    ensure(length <= MAX_GREETING)?;
    server.expect(&[0])?;
    match server.byte()? {
        10 => {
            ensure(server.rest().first().is_none_or(u8::is_ascii_digit))?;
            let version = server.text(MAX_VERSION, |byte| (0x20..0x7f).contains(byte))?;
            ensure(version.len() >= 3 && length >= version.len() + 33)?;
            // Connection identifier and the first part of the salt, then a filler.
            server.take(4 + 8)?;
            server.expect(&[0])
        }
        0xff => {
            ensure(REFUSALS.contains(&server.little(2)?))?;
            let available = server.rest();
            ensure(available.iter().take(length.saturating_sub(3)).all(|byte| (0x20..0x7f).contains(byte)))?;
            ensure(length >= 3 + REFUSAL_TEXT)?;
            server.take(REFUSAL_TEXT).map(|_| ())
        }
        _ => Err(Match::No),
    }
}

/// The server offers TLS in its greeting; a client that takes it up says so and waits for no answer.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    heard(opening(Cursor::new(client), Cursor::new(server)))
}

fn opening(mut client: Cursor, mut server: Cursor) -> Seen<Dialogue> {
    const SSL_REQUEST: usize = 32;
    let mut greeting = Cursor::whole(packet(&mut server)?);
    greeting.expect(&[10])?;
    greeting.text(MAX_VERSION, |_| true)?;
    greeting.take(13)?;
    let offered = greeting.little(2)?;

    let response = packet(&mut client)?;
    let capabilities = Cursor::whole(response).little(4)?;
    if response.len() == SSL_REQUEST && capabilities & offered & SSL != 0 {
        return Ok(switched(Upgrade::Mysql, &client, &server));
    }
    let (mut plugin, answer) = handshake_response(response)?;
    if is_password(plugin, answer) {
        return Ok(crossed(Credential::MysqlPassword));
    }
    loop {
        let asked = packet(&mut server)?;
        match asked {
            // Done, or refused.
            [0x00 | 0xff, ..] => return Ok(OVER),
            // Fast authentication has succeeded: the next packet says that it is done.
            [0x01, 0x03] => continue,
            [0xfe, rest @ ..] => plugin = before_nul(rest),
            _ => {}
        }
        if is_password(plugin, packet(&mut client)?) {
            return Ok(crossed(Credential::MysqlPassword));
        }
    }
}

/// The body of a packet, once it is whole.
fn packet<'a>(cursor: &mut Cursor<'a>) -> Seen<&'a [u8]> {
    let length = cursor.little(3)?;
    cursor.byte()?;
    cursor.take(length)
}

/// The plugin that a client has chosen, and its answer.
fn handshake_response(response: &[u8]) -> Seen<(&[u8], &[u8])> {
    let mut response = Cursor::whole(response);
    let capabilities = response.little(4)?;
    ensure(capabilities & PROTOCOL_41 != 0)?;
    // Largest packet, character set and what is reserved.
    response.take(4 + 1 + 23)?;
    response.text(usize::MAX, |_| true)?;
    let answer = if capabilities & LENGTH_ENCODED != 0 {
        let length = match response.byte()? {
            short @ 0..=0xfa => usize::from(short),
            0xfc => response.little(2)?,
            _ => return Err(Match::No),
        };
        response.take(length)?
    } else if capabilities & SECURE_CONNECTION != 0 {
        let length = response.byte()?;
        response.take(usize::from(length))?
    } else {
        response.text(usize::MAX, |_| true)?
    };
    if capabilities & CONNECT_WITH_DATABASE != 0 {
        response.text(usize::MAX, |_| true)?;
    }
    let plugin = if capabilities & PLUGIN_AUTH != 0 { before_nul(response.rest()) } else { &[] };
    Ok((plugin, answer))
}

fn before_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn is_password(plugin: &[u8], answer: &[u8]) -> bool {
    CLEARTEXT_PLUGINS.contains(&plugin) && answer.first().is_some_and(|&byte| byte != 0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_all_prefixes, assert_switch};
    use super::*;
    use crate::cleartext::{Protocol, examine};

    fn packet_of(sequence: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&length[..3], &[sequence], body].concat()
    }

    fn greeting_of(version: &[u8]) -> Vec<u8> {
        let body = [
            b"\x0a",
            version,
            b"\0\x08\0\0\0saltsalt\0\xff\xff\x08\x02\0\xff\xc1\x15\0\0\0\0\0\0\0\0\0\0saltsaltsalt\0caching_sha2_password\0",
        ]
        .concat();
        packet_of(0, &body)
    }

    fn response_of(plugin: &[u8], answer: &[u8]) -> Vec<u8> {
        let capabilities =
            u32::try_from(PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH).unwrap().to_le_bytes();
        let length = [u8::try_from(answer.len()).unwrap()];
        let body =
            [&capabilities[..], &[0, 0, 0, 1, 45], &[0; 23], b"anna\0", &length, answer, plugin, b"\0"];
        packet_of(1, &body.concat())
    }

    #[test]
    fn a_server_is_recognised_by_its_greeting() {
        for version in [&b"8.0.36"[..], b"5.5.5-10.11.6-MariaDB-0+deb12u1", b"11.4.2-MariaDB"] {
            assert_all_prefixes(Protocol::Mysql, b"", &greeting_of(version));
        }
        let refusal =
            packet_of(0, b"\xff\x6a\x04Host '192.0.2.7' is not allowed to connect to this MySQL server");
        assert_all_prefixes(Protocol::Mysql, b"", &refusal);
        assert_eq!(mysql(b"\0\0\x01", b""), Match::No);
        for other in [&b"220 mail ESMTP\r\n"[..], b"+OK POP3\r\n", b"SSH-2.0-x\r\n", b"RFB 003.008\n"] {
            assert_eq!(mysql(b"", other), Match::No);
        }
    }

    #[test]
    fn tls_begins_after_the_clients_request() {
        let request = packet_of(1, &[&b"\x05\x8e\x0a\0\0\0\0\x01\x2d"[..], &[0; 23]].concat());
        let greeting = greeting_of(b"8.0.36");
        assert_switch(&request, &greeting, Upgrade::Mysql, (36, greeting.len()));
    }

    #[test]
    fn a_password_is_seen_only_with_a_cleartext_plugin() {
        let greeting = greeting_of(b"8.0.36");
        let credential = |client: &[u8], server: &[u8]| examine(client, server).dialogue;
        let found = crossed(Credential::MysqlPassword);
        assert_eq!(credential(&response_of(b"mysql_clear_password", b"secret\0"), &greeting), found);
        assert_eq!(credential(&response_of(b"mysql_clear_password", b"\0"), &greeting), Dialogue::default());
        let hashed = response_of(b"mysql_native_password", &[7; 20]);
        assert_eq!(credential(&hashed, &greeting), Dialogue::default());

        let done = packet_of(2, b"\0\0\0\x02\0\0\0");
        assert_eq!(credential(&hashed, &[greeting.clone(), done].concat()), OVER);
        for (plugin, expected) in
            [(&b"mysql_clear_password"[..], found), (b"dialog", found), (b"x", Dialogue::default())]
        {
            let switch = packet_of(2, &[b"\xfe", plugin, b"\0\x04Password: "].concat());
            let client = [hashed.clone(), packet_of(3, b"secret\0")].concat();
            assert_eq!(credential(&client, &[greeting.clone(), switch].concat()), expected, "{plugin:?}");
        }
        // Full authentication of caching_sha2_password encrypts with the server's key.
        let server =
            [greeting, packet_of(2, b"\x01\x04"), packet_of(4, b"\x01-----BEGIN PUBLIC KEY-----")].concat();
        let sha2 = response_of(b"caching_sha2_password", &[7; 32]);
        let client = [sha2, packet_of(3, b"\x02"), packet_of(5, &[7; 256])].concat();
        assert_eq!(credential(&client, &server), Dialogue::default());
    }
}
