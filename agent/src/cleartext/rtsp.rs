//! RTSP (RFC 2326, RFC 7826) by the client's request line. It authenticates as HTTP does.

use super::text::request_line;
use super::{Dialogue, Match, head};
use crate::tls::PEEK;

const METHODS: &[&[u8]] = &[
    b"OPTIONS",
    b"DESCRIBE",
    b"ANNOUNCE",
    b"SETUP",
    b"PLAY",
    b"PAUSE",
    b"TEARDOWN",
    b"GET_PARAMETER",
    b"SET_PARAMETER",
    b"REDIRECT",
    b"RECORD",
    b"PLAY_NOTIFY",
];
const TARGETS: &[&[u8]] = &[b"rtsp://", b"rtspu://", b"rtsps://", b"* RTSP/"];

pub(super) fn rtsp(client: &[u8], _server: &[u8]) -> Match {
    request_line(client, client.len() >= PEEK, METHODS, TARGETS, b"RTSP/")
}

/// Authorization of the requests.
pub(super) fn listen(client: &[u8], _server: &[u8]) -> Dialogue {
    head::credentials(client, b"RTSP/")
}
