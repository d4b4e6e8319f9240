//! HTTP/1 by its request or status line.

use super::{Match, begins};

/// Longest method that is accepted: the IANA registry's longest is UPDATEREDIRECTREF (17).
const MAX_METHOD: usize = 20;
/// Between the target and the minor version.
const VERSION: &[u8] = b" HTTP/1.";
/// Methods of servers that close a request line early: a target longer than the prefix hides the version, so only
/// registered methods (RFC 9110, RFC 4918, RFC 5789, RFC 3253 …) are believed without it.
const METHODS: [&[u8]; 19] = [
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

/// By the client's request line, or by a server's status line.
///
/// CONNECT is left out: what follows it is another protocol, most often TLS.
pub(super) fn http1(client: &[u8], server: &[u8]) -> Match {
    if begins(client, b"CONNECT ") == Match::Yes {
        return Match::No;
    }
    match (request_line(client), begins(server, b"HTTP/1.")) {
        (Match::Yes, _) => Match::Yes,
        // An HTTP server that refuses what the client said shows only what the server is.
        (Match::No, _) => Match::No,
        (Match::NotYet, Match::Yes) if !client.is_empty() => Match::Yes,
        (Match::NotYet, _) => Match::NotYet,
    }
}

/// `METHOD SP target SP HTTP/1.x CRLF` (RFC 9112 section 3).
fn request_line(client: &[u8]) -> Match {
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
    let version = line.windows(VERSION.len()).position(|bytes| bytes == VERSION);
    // What follows the version does not take it back.
    let target = &line[..version.unwrap_or(line.len())];
    if target.iter().any(|&byte| byte < 0x20 || byte == 0x7f) {
        return Match::No;
    }
    match (version, line_end) {
        (Some(_), _) => Match::Yes,
        (_, Some(_)) => Match::No,
        // The whole prefix is target.
        (_, None) if client.len() >= crate::tls::PEEK && METHODS.contains(&&client[..method]) => Match::Yes,
        (_, None) if client.len() >= crate::tls::PEEK => Match::No,
        (_, None) => Match::NotYet,
    }
}
