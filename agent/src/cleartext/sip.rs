//! SIP over TCP (RFC 3261): a request line, or the answer to one.

use super::text::request_line;
use super::{Match, begins};
use crate::tls::PEEK;

const METHODS: &[&[u8]] = &[
    b"INVITE",
    b"ACK",
    b"BYE",
    b"CANCEL",
    b"OPTIONS",
    b"REGISTER",
    b"PRACK",
    b"SUBSCRIBE",
    b"NOTIFY",
    b"PUBLISH",
    b"INFO",
    b"REFER",
    b"MESSAGE",
    b"UPDATE",
];
const TARGETS: &[&[u8]] = &[b"sip:", b"sips:", b"tel:"];

pub(super) fn sip(client: &[u8], _server: &[u8]) -> Match {
    // Ends of lines keep connections open (RFC 5626 section 3.5.1).
    let start = client.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(client.len());
    if start > 4 {
        return Match::No;
    }
    let rest = &client[start..];
    request_line(rest, client.len() >= PEEK, METHODS, TARGETS, b"SIP/2.0").or(begins(rest, b"SIP/2.0 "))
}
