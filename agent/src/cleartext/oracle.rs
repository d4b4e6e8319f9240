//! Oracle's Transparent Network Substrate by its CONNECT packet.
//!
//! Its logins do not send passwords in clear; its native encryption is negotiated in its own way and not looked at.

use super::Match;
use super::cursor::{Cursor, Seen, ensure, settle};

/// From 300, of SQL*Net 2, to 319, of releases 18 and later, with room for what comes.
const VERSIONS: std::ops::RangeInclusive<usize> = 300..=399;
/// Where the connect data begin: 34 bytes of header in old versions, 74 in new ones.
const DATA_OFFSETS: std::ops::RangeInclusive<usize> = 34..=128;

/// By the client's first packet.
pub(super) fn oracle(client: &[u8], _server: &[u8]) -> Match {
    settle(connect(client), client)
}

fn connect(client: &[u8]) -> Seen<()> {
    let mut client = Cursor::new(client);
    let length = client.big(2)?;
    ensure(length >= *DATA_OFFSETS.start())?;
    // No checksum of the packet, type CONNECT; no checksum of the header.
    client.expect(&[0, 0, 1])?;
    let _flags = client.byte()?;
    client.expect(&[0, 0])?;
    let (version, compatible) = (client.big(2)?, client.big(2)?);
    ensure(VERSIONS.contains(&version) && compatible <= version && compatible > 0)?;
    let (_options, unit) = (client.big(2)?, client.big(2)?);
    ensure(unit >= 512)?;
    // Size of transport, protocol's characteristics, turn-around, and byte order: one in whichever is the host's.
    client.take(6)?;
    ensure(matches!(client.big(2)?, 0x0001 | 0x0100))?;
    let (size, offset) = (client.big(2)?, client.big(2)?);
    // Long connect data follow in a packet of their own.
    ensure(DATA_OFFSETS.contains(&offset) && (length == offset + size || length == offset))
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::Protocol;

    const DATA: &[u8] = b"(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME=shop)))";

    #[test]
    fn a_listener_is_recognised_by_the_packet_that_connects() {
        let header = b"\0\0\x01\0\0\0\x01\x3a\x01\x2c\x0c\x41\x20\0\x7f\xff\xc6\x0e\0\0\x01\0\0\x30\0\x3a";
        let client = [b"\0\x6a", &header[..], &[0; 30], DATA].concat();
        assert_all_prefixes(Protocol::Oracle, &client, b"\0\x20\0\0\x02\0\0\0");
        assert_eq!(oracle(b"\0\x1d\0\0\x01\0\0\x01\0\0\0\0\0\0\x07example\0\0\x01\0\x01", b""), Match::No);
    }
}
