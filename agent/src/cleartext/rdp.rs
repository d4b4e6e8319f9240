//! Remote Desktop (MS-RDPBCGR) by its X.224 connection request, and the security protocol that both sides choose in it.
//!
//! Its older security, which encrypts in its own way, is not told apart from none.

use super::cursor::{Cursor, OVER, Seen, ensure, heard, settle, switched};
use super::{Dialogue, Match, Upgrade};

const TPKT_AND_X224: usize = 4 + 7;
const CONNECTION_REQUEST: u8 = 0xe0;
const CONNECTION_CONFIRM: u8 = 0xd0;
const NEGOTIATION_REQUEST: u8 = 1;
const NEGOTIATION_RESPONSE: u8 = 2;
/// All of them begin with TLS: SSL, HYBRID, RDSTLS, HYBRID_EX and RDSAAD.
const PROTOCOLS_WITH_TLS: [usize; 5] = [1, 2, 4, 8, 16];
/// Longest cookie or routing token that is believed; that of mstsc has a user name of at most 9 characters.
const MAX_COOKIE: usize = 128;

/// By the client's connection request with a cookie or a negotiation, or, without either, by what follows it: other
/// protocols begin with X.224 too (S7, ICCP), but neither with those nor with T.125.
pub(super) fn rdp(client: &[u8], _server: &[u8]) -> Match {
    settle(connection_request(client), client)
}

fn connection_request(client: &[u8]) -> Seen<()> {
    let mut client = Cursor::new(client);
    let length = tpdu(&mut client, CONNECTION_REQUEST)?;
    if length == TPKT_AND_X224 {
        // Data with T.125's Connect-Initial.
        client.expect(&[3, 0])?;
        ensure(client.big(2)? > 9)?;
        return client.expect(&[0x02, 0xf0, 0x80, 0x7f, 0x65]);
    }
    if client.rest().first() == Some(&b'C') {
        return client.expect(b"Cookie: msts");
    }
    ensure(length >= TPKT_AND_X224 + 8)?;
    client.expect(&[NEGOTIATION_REQUEST])?;
    let _flags = client.byte()?;
    client.expect(&[8, 0])?;
    let protocols = client.little(4)?;
    ensure(protocols < 0x20)
}

/// The length of a TPKT packet (RFC 1006) with an X.224 TPDU of class 0 that fills it.
fn tpdu(cursor: &mut Cursor, code: u8) -> Seen<usize> {
    cursor.expect(&[3, 0])?;
    let length = cursor.big(2)?;
    ensure((TPKT_AND_X224..=TPKT_AND_X224 + MAX_COOKIE + 8 + 36).contains(&length))?;
    ensure(usize::from(cursor.byte()?) == length - 5)?;
    cursor.expect(&[code])?;
    let _references = cursor.take(4)?;
    cursor.expect(&[0])?;
    Ok(length)
}

/// TLS begins at once after the answer that chooses it.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    heard(negotiation(Cursor::new(client), Cursor::new(server)))
}

fn negotiation(mut client: Cursor, mut server: Cursor) -> Seen<Dialogue> {
    let length = tpdu(&mut client, CONNECTION_REQUEST)?;
    let asked = client.take(length - TPKT_AND_X224)?;
    let length = tpdu(&mut server, CONNECTION_CONFIRM)?;
    let mut answer = Cursor::whole(server.take(length - TPKT_AND_X224)?);
    answer.expect(&[NEGOTIATION_RESPONSE])?;
    let _flags = answer.byte()?;
    answer.expect(&[8, 0])?;
    let chosen = answer.little(4)?;
    let is_tls = !asked.is_empty() && PROTOCOLS_WITH_TLS.contains(&chosen);
    Ok(if is_tls { switched(Upgrade::Rdp, &client, &server) } else { OVER })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_all_prefixes, assert_switch};
    use super::*;
    use crate::cleartext::{Protocol, examine};

    const REQUEST: &[u8] = b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x0b\0\0\0";
    const COOKIE: &[u8] = b"\x03\0\0\x2a\x25\xe0\0\0\0\0\0Cookie: mstshash=anna\r\n\x01\0\x08\0\x03\0\0\0";
    const BARE: &[u8] = b"\x03\0\0\x0b\x06\xe0\0\0\0\0\0\x03\0\x01\x9c\x02\xf0\x80\x7f\x65\x82\x01\x90";

    fn confirm(kind: u8, value: u8) -> Vec<u8> {
        [&b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0"[..], &[kind, 0, 8, 0, value, 0, 0, 0]].concat()
    }

    #[test]
    fn a_desktop_is_recognised_by_the_request_to_it() {
        for request in [REQUEST, COOKIE, BARE] {
            assert_all_prefixes(Protocol::Rdp, request, &confirm(2, 1));
        }
        // S7 and its parameters.
        assert_eq!(
            rdp(b"\x03\0\0\x16\x11\xe0\0\0\0\x01\0\xc0\x01\x0a\xc1\x02\x01\0\xc2\x02\x01\x02", b""),
            Match::No
        );
    }

    #[test]
    fn tls_begins_after_the_answer_that_chooses_it() {
        for chosen in [1, 2, 8] {
            assert_switch(REQUEST, &confirm(2, chosen), Upgrade::Rdp, (19, 19));
        }
        assert_switch(COOKIE, &confirm(2, 1), Upgrade::Rdp, (42, 19));
        for (kind, value) in [(2, 0), (3, 5)] {
            assert_eq!(examine(REQUEST, &confirm(kind, value)).dialogue, OVER);
        }
        assert_eq!(examine(BARE, b"\x03\0\0\x0b\x06\xd0\0\0\x12\x34\0").dialogue, OVER);
    }
}
