//! HTTP/1 by the client's request line (RFC 9112 section 3), its credentials, and CONNECT.

use super::exchange::Exchange;
use super::text::begins_ignoring_case;
use super::{Dialogue, Match};
use crate::tls::PEEK;

/// Longest method that is accepted: the IANA registry's longest is UPDATEREDIRECTREF (17).
const MAX_METHOD: usize = 20;
/// Methods of servers that close a request line early: a target longer than the prefix hides the version, so only
/// registered methods (RFC 9110, RFC 4918, RFC 5789, RFC 3253 …) are believed without it.
const METHODS: [&[u8]; 20] = [
    b"CONNECT",
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"SEARCH",
    b"REPORT",
    b"CHECKOUT",
    b"MKCALENDAR",
];
/// How targets of protocols begin that have HTTP's request line and OPTIONS.
const FOREIGN_TARGETS: [&[u8]; 7] = [b"sip:", b"sips:", b"tel:", b"rtsp:", b"rtspu:", b"rtsps:", b"icap:"];

/// `METHOD SP target SP HTTP/1.x CRLF`. What a server says proves nothing of the client: HTTP servers answer in HTTP
/// whatever they are sent.
pub(super) fn http1(client: &[u8], _server: &[u8]) -> Match {
    let method = client.iter().position(|&byte| byte == b' ').unwrap_or(client.len());
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(byte);
    if method > MAX_METHOD || !client[..method].iter().all(is_token) {
        return Match::No;
    }
    let Some(rest) = client.get(method + 1..) else { return Match::NotYet };
    if method == 0 {
        return Match::No;
    }
    let line_end = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n');
    let line = &rest[..line_end.unwrap_or(rest.len())];
    if line.iter().any(|&byte| byte < 0x20 || byte == 0x7f) {
        return Match::No;
    }
    // Commands of other protocols have the shape of an unregistered method.
    let is_registered = METHODS.contains(&&client[..method]);
    let is_target = match line.first() {
        None => true,
        Some(b'{') => false,
        Some(b'/' | b'*') => true,
        Some(_) => is_registered || line.windows(3).any(|window| window == b"://"),
    };
    let is_foreign = FOREIGN_TARGETS.iter().any(|target| begins_ignoring_case(line, target) == Match::Yes);
    let version = line.iter().rposition(|&byte| byte == b' ').map(|space| &line[space + 1..]);
    match (version, line_end) {
        (Some(version), Some(_)) => Match::of(is_target && version.starts_with(b"HTTP/1.")),
        (None, Some(_)) => Match::No,
        (_, None) if client.len() < PEEK => Match::NotYet,
        (Some(version), None) if is_target && version.starts_with(b"HTTP/1.") => Match::Yes,
        // The whole prefix is target.
        (_, None) => Match::of(is_registered && is_target && !is_foreign),
    }
}

/// Credentials of requests, and the switch of CONNECT (RFC 9110 section 9.3.6) or of Upgrade to TLS (RFC 2817).
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut exchange = Exchange::default();
    exchange.follow(client, server);
    exchange.dialogue()
}
