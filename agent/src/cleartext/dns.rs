//! DNS over TCP (RFC 1035 section 4.2.2, RFC 7766) by its first query.

use super::Match;
use super::cursor::{Cursor, Seen, ensure, settle};

const HEADER: usize = 12;
/// Root, type and class.
const SHORTEST_QUESTION: usize = 5;
const MAX_LABEL: u8 = 63;
/// Longest name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;
/// Internet, Chaos, Hesiod, none (updates), any.
const CLASSES: [usize; 5] = [1, 3, 4, 254, 255];
/// The highest assigned types below the meta types 249 to 262, and the two that stand alone: TA and DLV.
const TYPES: [std::ops::RangeInclusive<usize>; 2] = [1..=262, 32_768..=32_769];

/// By a query that has one question, with a name, a type and a class that exist.
pub(super) fn dns(client: &[u8], _server: &[u8]) -> Match {
    settle(query(client), client)
}

fn query(client: &[u8]) -> Seen<()> {
    let mut client = Cursor::new(client);
    let length = client.big(2)?;
    ensure(length >= HEADER + SHORTEST_QUESTION)?;
    let _identifier = client.take(2)?;
    let flags = client.big(2)?;
    // No response, a known operation (RFC 6895 section 2.2), no truncation, no error, and nothing reserved.
    ensure(matches!(flags >> 11, 0 | 1 | 2 | 4 | 5) && flags & 0x024f == 0)?;
    ensure(client.big(2)? == 1)?;
    let (answers, authorities, _additional) = (client.big(2)?, client.big(2)?, client.big(2)?);
    // An update has prerequisites and changes, a notification the new SOA, an incremental transfer the old one.
    ensure((answers == 0 || flags >> 11 >= 4) && (authorities <= 1 || flags >> 11 == 5))?;
    let start = client.at();
    loop {
        let label = client.byte()?;
        ensure(label <= MAX_LABEL)?;
        if label == 0 {
            break;
        }
        let text = client.take(usize::from(label))?;
        ensure(text.iter().all(|byte| (0x20..0x7f).contains(byte)))?;
        ensure(client.at() - start <= MAX_NAME)?;
    }
    let kind = client.big(2)?;
    ensure(TYPES.iter().any(|known| known.contains(&kind)))?;
    ensure(CLASSES.contains(&client.big(2)?))?;
    ensure(client.at() <= 2 + length)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::Protocol;

    const QUERY: &[u8] = b"\0\x1d\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\xfc\0\x01";

    #[test]
    fn a_resolver_is_recognised_by_a_question() {
        assert_all_prefixes(Protocol::Dns, QUERY, b"");
        let update =
            b"\0\x2e\x12\x34\x28\0\0\x01\0\0\0\x01\0\0\x07example\x03org\0\0\x06\0\x01\xc0\x0c\0\x01\0\x01";
        assert_all_prefixes(Protocol::Dns, update, b"");
        for wrong in [(4, 0x81), (7, 2), (15, 0xc0), (16, 7), (29, 9)] {
            let mut bytes = QUERY.to_vec();
            bytes[wrong.0] = wrong.1;
            assert_eq!(dns(&bytes, b""), Match::No, "{wrong:?}");
        }
        assert_eq!(dns(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b""), Match::No);
    }
}
