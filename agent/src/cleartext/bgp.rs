//! BGP-4 (RFC 4271) by the marker and header of its messages.

use super::Match;
use super::cursor::{Cursor, Seen, ensure, settle};

/// RFC 4271 section 4.1; RFC 8654 raises it for what comes after the opening.
const LENGTHS: std::ops::RangeInclusive<usize> = 19..=4096;
const OPEN: u8 = 1;
const VERSION: u8 = 4;

/// By a message of either side: both open, in either order.
pub(super) fn bgp(client: &[u8], server: &[u8]) -> Match {
    match (settle(message(client), client), settle(message(server), server)) {
        (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
        (Match::NotYet, other) | (other, Match::NotYet)
            if other == Match::NotYet || !is_silent(client, server) =>
        {
            Match::NotYet
        }
        _ => Match::No,
    }
}

fn is_silent(client: &[u8], server: &[u8]) -> bool {
    client.is_empty() || server.is_empty()
}

fn message(bytes: &[u8]) -> Seen<()> {
    let mut bytes = Cursor::new(bytes);
    bytes.expect(&[0xff; 16])?;
    let length = bytes.big(2)?;
    ensure(LENGTHS.contains(&length))?;
    match bytes.byte()? {
        OPEN => ensure(length >= 29 && bytes.byte()? == VERSION),
        // Update, notification, keep-alive, route refresh (RFC 2918).
        2 => ensure(length >= 23),
        3 => ensure(length >= 21),
        4 => ensure(length == 19),
        5 => ensure(length >= 23),
        _ => Err(Match::No),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::Protocol;

    #[test]
    fn a_router_is_recognised_by_either_sides_message() {
        let open = [&[0xff; 16][..], b"\0\x1d\x01\x04\xfd\xe8\0\xb4\xc0\0\x02\x01\0"].concat();
        let keep_alive = [&[0xff; 16][..], b"\0\x13\x04"].concat();
        assert_all_prefixes(Protocol::Bgp, &open, &open);
        assert_all_prefixes(Protocol::Bgp, b"", &open);
        assert_all_prefixes(Protocol::Bgp, &keep_alive, b"");
        assert_eq!(bgp(&[0xff; 40], b""), Match::No);
        assert_eq!(bgp(&open[..17], &open[..3]), Match::NotYet);
    }
}
