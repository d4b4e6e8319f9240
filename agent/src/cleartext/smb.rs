//! SMB 1 to 3 (MS-SMB, MS-SMB2), directly over TCP or in a NetBIOS session (RFC 1002).
//!
//! Its authentication is SPNEGO or a challenge; the encryption of SMB 3 begins after it and is not looked at.

use super::Match;
use super::cursor::{Cursor, Seen, ensure, settle};

/// A NetBIOS session request: two names of 34 bytes.
const SESSION_REQUEST: &[u8] = &[0x81, 0, 0, 0x44, 0x20];
const POSITIVE: &[u8] = &[0x82, 0, 0, 0];

/// By the client's first message, behind a session request if there is one.
pub(super) fn smb(client: &[u8], server: &[u8]) -> Match {
    if client.first() == Some(&0x81)
        && !server.is_empty()
        && !POSITIVE.starts_with(server.get(..4).unwrap_or(server))
    {
        return Match::No;
    }
    settle(first_message(client), client)
}

fn first_message(client: &[u8]) -> Seen<()> {
    let mut client = Cursor::new(client);
    if client.rest().first() == Some(&0x81) {
        client.expect(SESSION_REQUEST)?;
        // Half bytes as letters from A on (RFC 1001 section 14.1).
        ensure(client.rest().iter().take(32).all(|byte| (b'A'..=b'P').contains(byte)))?;
        client.take(32)?;
        client.expect(&[0, 0x20])?;
        ensure(client.rest().iter().take(32).all(|byte| (b'A'..=b'P').contains(byte)))?;
        client.take(32)?;
        client.expect(&[0])?;
    }
    client.expect(&[0])?;
    let length = client.big(3)?;
    ensure(length >= 32)?;
    match client.byte()? {
        // SMB 1: a command.
        0xff => {
            client.expect(b"SMB")?;
            client.byte().map(|_| ())
        }
        // SMB 2 and 3: the header's size.
        0xfe => client.expect(b"SMB\x40\0"),
        // Encrypted or compressed, seen where a capture begins late.
        0xfc | 0xfd => client.expect(b"SMB"),
        _ => Err(Match::No),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::Protocol;

    const SMB1: &[u8] = b"\0\0\0\x2f\xffSMBr\0\0\0\0\x18\x01\x20\0\0\0\0";
    const SMB2: &[u8] = b"\0\0\0\x6c\xfeSMB\x40\0\0\0\0\0\0\0\0\0";

    #[test]
    fn a_file_server_is_recognised_by_the_first_message() {
        assert_all_prefixes(Protocol::Smb, SMB1, b"");
        assert_all_prefixes(Protocol::Smb, SMB2, b"");
        let session = [SESSION_REQUEST, &[b'C'; 32], &[0, 0x20], &[b'A'; 32], &[0]].concat();
        assert_all_prefixes(Protocol::Smb, &[&session, SMB1].concat(), b"");
        assert_eq!(smb(&session, b"\x83\0\0\x01\x82"), Match::No);
        assert_eq!(smb(&session, b"\x82"), Match::NotYet);
        assert_eq!(smb(b"\0\0\0\x2f\xffSQLr", b""), Match::No);
    }
}
