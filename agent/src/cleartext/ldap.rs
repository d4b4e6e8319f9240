//! LDAP (RFC 4511): its requests in BER, StartTLS, simple binds.

use super::cursor::{Cursor, Seen, ensure, plain_has_password, settle, switched};
use super::text::is_one_of;
use super::{Credential, Dialogue, Match, Upgrade};

const BIND: u8 = 0x60;
const SEARCH: u8 = 0x63;
const EXTENDED: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
/// RFC 4511 section 4.14.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Longest object identifier of an extended request that is believed.
const MAX_OBJECT_IDENTIFIER: usize = 64;

/// By the client's first request. Those with little structure need the server's answer to them.
pub(super) fn ldap(client: &[u8], server: &[u8]) -> Match {
    match first_request(client) {
        Ok(Request::Certain) => Match::Yes,
        Ok(Request::Answered { identifier, by }) => settle(answers(server, identifier, by), server),
        Err(reason) => settle(Err(reason), client),
    }
}

enum Request {
    Certain,
    Answered { identifier: usize, by: u8 },
}

fn first_request(client: &[u8]) -> Seen<Request> {
    let mut client = Cursor::new(client);
    let (identifier, tag, _) = header(&mut client)?;
    match tag {
        BIND => {
            client.expect(&[0x02, 0x01])?;
            ensure(matches!(client.byte()?, 2 | 3))?;
            client.expect(&[0x04])?;
            length(&mut client)?;
        }
        SEARCH => {
            client.expect(&[0x04])?;
            let base = length(&mut client)?;
            client.take(base)?;
            for _scope_then_dereferencing in 0..2 {
                client.expect(&[0x0a, 0x01])?;
                ensure(client.byte()? <= 3)?;
            }
        }
        EXTENDED => {
            client.expect(&[0x80])?;
            let length = length(&mut client)?;
            ensure((3..=MAX_OBJECT_IDENTIFIER).contains(&length))?;
            let name = client.take(length)?;
            ensure(name.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))?;
        }
        // Modify, add, modify DN and compare.
        0x66 | 0x68 | 0x6c | 0x6e => return Ok(Request::Answered { identifier, by: tag + 1 }),
        // Delete.
        0x4a => return Ok(Request::Answered { identifier, by: 0x6b }),
        _ => return Err(Match::No),
    }
    Ok(Request::Certain)
}

fn answers(server: &[u8], wanted: usize, by: u8) -> Seen<()> {
    let (identifier, tag, _) = header(&mut Cursor::new(server))?;
    ensure(identifier == wanted && tag == by)
}

/// The identifier of a message, the tag of its operation, and the bytes of both it and its controls that follow.
fn header(cursor: &mut Cursor) -> Seen<(usize, u8, usize)> {
    cursor.expect(&[0x30])?;
    let whole = length(cursor)?;
    let start = cursor.at();
    cursor.expect(&[0x02])?;
    let size = usize::from(cursor.byte()?);
    ensure((1..=4).contains(&size))?;
    let identifier = cursor.big(size)?;
    let tag = cursor.byte()?;
    let operation = length(cursor)?;
    let rest = whole.checked_sub(cursor.at() - start).ok_or(Match::No)?;
    ensure(operation <= rest)?;
    Ok((identifier, tag, rest))
}

/// Of a BER value, in at most four bytes (X.690 section 8.1.3).
fn length(cursor: &mut Cursor) -> Seen<usize> {
    match cursor.byte()? {
        short @ 0..=0x7f => Ok(usize::from(short)),
        long @ 0x81..=0x84 => cursor.big(usize::from(long - 0x80)),
        _ => Err(Match::No),
    }
}

/// StartTLS may follow a bind. A SASL layer, whose messages are no LDAP any more, ends what is listened to.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let ended = requests(Cursor::new(client), Cursor::new(server), &mut dialogue);
    dialogue.over = dialogue.switch.is_some() || ended == Err(Match::No);
    dialogue
}

/// SASL mechanisms without a layer of their own.
const LAYERLESS: &[&[u8]] =
    &[b"EXTERNAL", b"ANONYMOUS", b"CRAM-MD5", b"SCRAM-SHA-1", b"SCRAM-SHA-256", b"LOGIN", b"OAUTHBEARER"];

/// Until the switch.
fn requests(mut client: Cursor, mut server: Cursor, dialogue: &mut Dialogue) -> Seen<()> {
    loop {
        let (identifier, tag, rest) = header(&mut client)?;
        let mut operation = Cursor::whole(client.take(rest)?);
        match tag {
            BIND => {
                let (credential, layered) = bind(&mut operation)?;
                dialogue.note(credential);
                dialogue.protected |= layered;
            }
            EXTENDED => {
                operation.expect(&[0x80])?;
                let length = length(&mut operation)?;
                if operation.take(length)? == START_TLS {
                    dialogue.asked = true;
                    let agreed = is_agreed(&mut server, identifier)?;
                    dialogue.asked = false;
                    if agreed {
                        dialogue.switch = switched(Upgrade::Ldap, &client, &server).switch;
                        return Ok(());
                    }
                }
            }
            _ => {}
        }
    }
}

/// RFC 4511 section 4.2. A name without a password is an unauthenticated bind (RFC 4513 section 5.1.2).
///
/// The second answer is whether its mechanism may install a layer that protects what follows (RFC 4422 section 3.7).
fn bind(operation: &mut Cursor) -> Seen<(Option<Credential>, bool)> {
    const SIMPLE: u8 = 0x80;
    const SASL: u8 = 0xa3;
    operation.take(3)?;
    operation.expect(&[0x04])?;
    let name = length(operation)?;
    operation.take(name)?;
    let method = operation.byte()?;
    let size = length(operation)?;
    Ok(match method {
        SIMPLE if size > 0 => (Some(Credential::LdapSimpleBind), false),
        SASL => {
            operation.expect(&[0x04])?;
            let mechanism = length(operation)?;
            let mechanism = operation.take(mechanism)?;
            if !mechanism.eq_ignore_ascii_case(b"PLAIN") {
                return Ok((None, !is_one_of(mechanism, LAYERLESS)));
            }
            if operation.expect(&[0x04]).is_err() {
                return Ok((None, false));
            }
            let size = length(operation)?;
            (plain_has_password(operation.take(size)?).then_some(Credential::LdapPlain), false)
        }
        // Sicily, Microsoft's older negotiation of NTLM, may sign and seal as SASL does.
        _ => (None, method != SIMPLE),
    })
}

/// Whether the server answers the request with success.
fn is_agreed(server: &mut Cursor, wanted: usize) -> Seen<bool> {
    loop {
        let (identifier, tag, rest) = header(server)?;
        let mut answer = Cursor::whole(server.take(rest)?);
        if identifier == wanted && tag == EXTENDED_RESPONSE {
            answer.expect(&[0x0a, 0x01])?;
            return Ok(answer.byte()? == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_all_prefixes, assert_switch};
    use super::*;
    use crate::cleartext::{Protocol, examine};

    const SIMPLE: &[u8] = b"\x30\x1c\x02\x01\x01\x60\x17\x02\x01\x03\x04\x0acn=a,dc=ex\x80\x06secret";
    const SEARCHED: &[u8] = b"\x30\x25\x02\x01\x01\x63\x20\x04\0\x0a\x01\0\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0\x87\x0bobjectclass\x30\0";
    const TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    const AGREED: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";
    const REFUSED: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0";

    fn bind_of(password: &[u8]) -> Vec<u8> {
        let size = u8::try_from(password.len()).unwrap();
        [&[0x30, 0x0c + size, 2, 1, 1, 0x60, 0x07 + size, 2, 1, 3, 4, 0, 0x80, size], password].concat()
    }

    #[test]
    fn a_directory_is_recognised_by_its_requests() {
        assert_all_prefixes(Protocol::Ldap, SIMPLE, b"");
        assert_all_prefixes(Protocol::Ldap, TLS, AGREED);
        assert_all_prefixes(Protocol::Ldap, SEARCHED, b"");
        // Windows writes all lengths in five bytes.
        let windows = b"\x30\x84\0\0\0\x10\x02\x01\x01\x60\x84\0\0\0\x07\x02\x01\x03\x04\0\x80\0";
        assert_all_prefixes(Protocol::Ldap, windows, b"");
        let delete = b"\x30\x08\x02\x01\x02\x4a\x03a=b";
        assert_all_prefixes(Protocol::Ldap, delete, b"\x30\x0c\x02\x01\x02\x6b\x07\x0a\x01\0\x04\0\x04\0");
        assert_eq!(ldap(delete, b"\x30\x0c\x02\x01\x03\x6b\x07"), Match::No);
        // SNMP, whose version is followed by a community.
        assert_eq!(ldap(b"\x30\x26\x02\x01\x01\x04\x06public", b""), Match::No);
    }

    #[test]
    fn tls_begins_after_the_agreeing_answer() {
        assert_switch(TLS, AGREED, Upgrade::Ldap, (TLS.len(), AGREED.len()));
        assert_eq!(examine(TLS, REFUSED).dialogue, Dialogue::default());
        let bound = [&bind_of(b"secret")[..], b"\x30\x1d\x02\x01\x02", &TLS[5..]].concat();
        let server = [
            &b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"[..],
            b"\x30\x0c\x02\x01\x02",
            &AGREED[5..],
        ]
        .concat();
        let dialogue = examine(&bound, &server).dialogue;
        assert_eq!(dialogue.credential, Some(Credential::LdapSimpleBind));
        assert_eq!(
            dialogue.switch.map(|switch| (switch.client, switch.server)),
            Some((bound.len(), server.len()))
        );
    }

    #[test]
    fn a_simple_bind_has_a_credential_only_with_a_password() {
        assert_eq!(examine(SIMPLE, b"").dialogue.credential, Some(Credential::LdapSimpleBind));
        assert_eq!(examine(&bind_of(b""), b"").dialogue.credential, None);
        let sasl = |mechanism: &[u8], message: &[u8]| {
            let inner = [
                &[4, u8::try_from(mechanism.len()).unwrap()],
                mechanism,
                &[4, u8::try_from(message.len()).unwrap()],
                message,
            ]
            .concat();
            let size = u8::try_from(inner.len()).unwrap();
            let client =
                [&[0x30, 0x0c + size, 2, 1, 1, 0x60, 0x07 + size, 2, 1, 3, 4, 0, 0xa3, size], &inner[..]]
                    .concat();
            examine(&client, b"").dialogue.credential
        };
        assert_eq!(sasl(b"PLAIN", b"\0anna\0secret"), Some(Credential::LdapPlain));
        assert_eq!(sasl(b"EXTERNAL", b""), None);
        assert_eq!(sasl(b"SCRAM-SHA-512", b"n,,n=anna,r=abc"), None);
        assert_eq!(sasl(b"GSS-SPNEGO", &[0x60; 60]), None);
    }
}
