//! SSH by its identification string (RFC 4253 section 4.2).

use super::{Match, begins};

/// Either side sends it first. A server may send other lines before; they are looked through.
pub(super) fn ssh(client: &[u8], server: &[u8]) -> Match {
    match (begins(client, b"SSH-"), server_identification(server)) {
        (Match::Yes, _) => Match::Yes,
        (Match::No, _) => Match::No,
        (Match::NotYet, Match::Yes) => Match::Yes,
        (Match::NotYet, Match::NotYet) => Match::NotYet,
        // A client that has not spoken yet may still do so; one that began like SSH too.
        (Match::NotYet, Match::No) => {
            if client.is_empty() {
                Match::No
            } else {
                Match::NotYet
            }
        }
    }
}

fn server_identification(server: &[u8]) -> Match {
    let whole = server.len() >= crate::tls::PEEK;
    let mut lines = server.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        match begins(line, b"SSH-") {
            Match::Yes => return Match::Yes,
            Match::NotYet if lines.peek().is_none() && !whole => return Match::NotYet,
            _ => {}
        }
    }
    if whole || server.iter().any(|byte| !byte.is_ascii_graphic() && !byte.is_ascii_whitespace()) {
        Match::No
    } else {
        Match::NotYet
    }
}
