//! MongoDB's wire protocol by its message header, and SASL PLAIN in its commands.

use super::cursor::{Cursor, Seen, ensure, plain_has_password, settle};
use super::{Credential, Dialogue, Match};

/// Longest message that servers accept (maxMessageSizeBytes).
const MAX_MESSAGE: usize = 48_000_000;
/// Longest namespace (its documentation's limits: 255 bytes, 120 before 4.4).
const MAX_NAMESPACE: usize = 255;
const HEADER: usize = 16;
const OP_QUERY: usize = 2004;
const OP_COMPRESSED: usize = 2012;
const OP_MSG: usize = 2013;

/// By the client's first message, which answers none.
pub(super) fn mongodb(client: &[u8], _server: &[u8]) -> Match {
    settle(first_message(client), client)
}

fn first_message(client: &[u8]) -> Seen<()> {
    let mut client = Cursor::new(client);
    let (length, operation) = header(&mut client)?;
    match operation {
        OP_MSG => {
            ensure(client.little(4)? & !0x1_0003 == 0)?;
            ensure(client.byte()? <= 1)?;
            let document = client.little(4)?;
            ensure((5..=length - HEADER).contains(&document))
        }
        OP_COMPRESSED => {
            ensure((2001..=OP_MSG).contains(&client.little(4)?))?;
            ensure(client.little(4)? <= MAX_MESSAGE)?;
            // Not at all, Snappy, zlib, Zstandard.
            ensure(client.byte()? <= 3)
        }
        // Update, insert, query, get more, delete.
        2001 | 2002 | OP_QUERY | 2005 | 2006 => {
            client.take(4)?;
            let namespace = client.text(MAX_NAMESPACE, |byte| *byte > 0x20)?;
            ensure(namespace.contains(&b'.'))
        }
        _ => Err(Match::No),
    }
}

/// Length and operation of a request.
fn header(client: &mut Cursor) -> Seen<(usize, usize)> {
    let length = client.little(4)?;
    ensure((HEADER + 5..=MAX_MESSAGE).contains(&length))?;
    let _identifier = client.take(4)?;
    // Some drivers wrote -1.
    let answers = client.take(4)?;
    ensure(answers == [0; 4] || answers == [0xff; 4])?;
    Ok((length, client.little(4)?))
}

/// Compressed messages are not looked at: commands that authenticate may not be compressed.
pub(super) fn listen(client: &[u8], _server: &[u8]) -> Dialogue {
    let found = messages(Cursor::new(client));
    let credential = (found == Ok(())).then_some(Credential::MongodbPlain);
    Dialogue { credential, over: found != Err(Match::NotYet), ..Dialogue::default() }
}

/// Until a password.
fn messages(mut client: Cursor) -> Seen<()> {
    loop {
        let (length, operation) = header(&mut client)?;
        let mut body = Cursor::whole(client.take(length - HEADER)?);
        match operation {
            OP_MSG => {
                body.take(4)?;
                if body.byte()? != 0 {
                    continue;
                }
            }
            OP_QUERY => {
                body.take(4)?;
                body.text(MAX_NAMESPACE, |_| true)?;
                body.take(8)?;
            }
            _ => continue,
        }
        if command_has_password(body)? {
            return Ok(());
        }
    }
}

/// Whether a BSON document is a saslStart with the mechanism PLAIN and a password.
fn command_has_password(mut document: Cursor) -> Seen<bool> {
    let (mut starts, mut is_plain, mut has_password) = (false, false, false);
    document.take(4)?;
    loop {
        let kind = document.byte()?;
        if kind == 0 {
            return Ok(starts && is_plain && has_password);
        }
        let name = document.text(usize::MAX, |_| true)?;
        let value = value(&mut document, kind)?;
        match (name, kind) {
            (b"saslStart", _) => starts = true,
            (b"mechanism", 0x02) => is_plain = value == b"PLAIN\0",
            (b"payload", 0x05) => has_password = plain_has_password(value),
            // Old drivers wrote it in Base64.
            (b"payload", 0x02) => has_password = value.len() > 1,
            _ => {}
        }
    }
}

/// The bytes of a value behind its length (the BSON specification 1.1).
fn value<'a>(document: &mut Cursor<'a>, kind: u8) -> Seen<&'a [u8]> {
    let length = match kind {
        0x06 | 0x0a | 0x7f | 0xff => 0,
        0x08 => 1,
        0x10 => 4,
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x07 => 12,
        0x13 => 16,
        0x02 | 0x0d | 0x0e => document.little(4)?,
        0x03 | 0x04 => document.little(4)?.checked_sub(4).ok_or(Match::No)?,
        0x05 => {
            let length = document.little(4)?;
            document.byte()?;
            length
        }
        _ => return Err(Match::No),
    };
    document.take(length)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Protocol, examine};

    fn sized(body: &[u8], more: usize) -> Vec<u8> {
        [&u32::try_from(body.len() + more).unwrap().to_le_bytes(), body].concat()
    }

    fn sasl_start(mechanism: &[u8], payload: &[u8]) -> Vec<u8> {
        let body = [
            &b"\x10saslStart\0\x01\0\0\0\x02mechanism\0"[..],
            &sized(&[mechanism, b"\0"].concat(), 0),
            b"\x05payload\0",
            &u32::try_from(payload.len()).unwrap().to_le_bytes(),
            b"\0",
            payload,
            b"\x02$db\0\x0a\0\0\0$external\0\0",
        ]
        .concat();
        // The string's length counts its NUL, the document's counts itself.
        sized(&body, 4)
    }

    fn message(document: &[u8]) -> Vec<u8> {
        sized(&[b"\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0", document].concat(), 4)
    }

    fn query(document: &[u8]) -> Vec<u8> {
        sized(
            &[b"\x01\0\0\0\0\0\0\0\xd4\x07\0\0\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff", document]
                .concat(),
            4,
        )
    }

    #[test]
    fn a_server_is_recognised_by_a_message_to_it() {
        let hello = sized(b"\x10hello\0\x01\0\0\0\0", 4);
        assert_all_prefixes(Protocol::Mongodb, &message(&hello), b"");
        assert_all_prefixes(Protocol::Mongodb, &query(&hello), b"");
        assert_eq!(mongodb(b"\x20\0\0\0\0\0\0\0\0\0\0\0\xe0\x07\0\0", b""), Match::No);
        assert_eq!(mongodb(b"\x20\0\0\0\0\0\0\0\x07\0\0\0\xdd\x07\0\0", b""), Match::No);
    }

    #[test]
    fn a_password_is_seen_with_the_plain_mechanism_only() {
        for wrap in [message, query] {
            let said = |mechanism: &[u8], payload: &[u8]| {
                let client =
                    [wrap(&sized(b"\x10hello\0\x01\0\0\0\0", 4)), wrap(&sasl_start(mechanism, payload))]
                        .concat();
                examine(&client, b"").dialogue.credential
            };
            assert_eq!(said(b"PLAIN", b"\0anna\0secret"), Some(Credential::MongodbPlain));
            assert_eq!(said(b"PLAIN", b"\0anna\0"), None);
            assert_eq!(said(b"SCRAM-SHA-256", b"n,,n=anna,r=abc"), None);
        }
    }
}
