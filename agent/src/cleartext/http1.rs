//! HTTP/1 by the client's request line (RFC 9112 section 3), its credentials, and CONNECT.

use super::head::Head;
use super::text::{MAX_COMMANDS, begins_ignoring_case, word};
use super::{Dialogue, Match, Upgrade};
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
    let mut dialogue = Dialogue::default();
    let mut sent = 0;
    let mut answers = Answers { server, at: Some(0) };
    for _ in 0..MAX_COMMANDS {
        let Some(request) = Head::read(client, sent) else { return dialogue };
        // Bodies without a length, and what follows an upgrade, are no requests.
        let (method, rest) = word(request.start());
        if !rest.windows(7).any(|window| window == b"HTTP/1.") {
            return dialogue.ended();
        }
        dialogue.note(request.credential());
        let Some(end) = request.end() else { return dialogue };
        let upgrade = request.field(b"Upgrade");
        let is_connect = method == b"CONNECT";
        if !is_connect && upgrade.is_none() && dialogue.credential.is_some() {
            return dialogue.ended();
        }
        let answer = answers.next(method);
        match answer {
            None if is_connect || upgrade.is_some() => return dialogue,
            Some(answer) if is_connect && answer.status / 100 == 2 => {
                return dialogue.switched(Upgrade::HttpConnect, end, answer.end);
            }
            Some(answer) if answer.status == 101 && upgrade.is_some() => {
                let is_tls = upgrade.is_some_and(|value| begins_ignoring_case(value, b"TLS/") == Match::Yes);
                return match is_tls {
                    true => dialogue.switched(Upgrade::HttpUpgrade, end, answer.end),
                    false => dialogue.ended(),
                };
            }
            _ => {}
        }
        let Some(next) = request.next(Some(0)) else { return dialogue };
        sent = next;
    }
    dialogue.ended()
}

/// A final answer.
#[derive(Clone, Copy)]
struct Answer {
    status: u16,
    /// Bytes of the server up to and with the empty line.
    end: usize,
}

/// The final answers of a server in their order; none any more once one has no end.
struct Answers<'a> {
    server: &'a [u8],
    at: Option<usize>,
}

impl Answers<'_> {
    fn next(&mut self, method: &[u8]) -> Option<Answer> {
        loop {
            let head = self.at.take().and_then(|at| Head::read(self.server, at))?;
            let rest = head.start().strip_prefix(b"HTTP/1.")?;
            let digits = word(rest).1.get(..3)?;
            let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
            let end = head.end()?;
            if (100..200).contains(&status) && status != 101 {
                self.at = Some(end);
                continue;
            }
            let is_bare = matches!(status, 101 | 204 | 304)
                || method == b"HEAD"
                || method == b"CONNECT" && status / 100 == 2;
            self.at = if is_bare { Some(end) } else { head.next(None) };
            return Some(Answer { status, end });
        }
    }
}
