//! Telnet by its option negotiation (RFC 854, RFC 855).

use super::Match;
use crate::tls::PEEK;

const IAC: u8 = 255;
/// WILL, WON'T, DO and DON'T.
const NEGOTIATION: std::ops::RangeInclusive<u8> = 251..=254;
/// Highest option that IANA has assigned without a gap.
const MAX_OPTION: u8 = 49;

/// Both negotiate; or one does, repeatedly, and the other types.
pub(super) fn telnet(client: &[u8], server: &[u8]) -> Match {
    let both = negotiations(client, 1).and(negotiations(server, 1));
    // A client that types does so after the server has spoken.
    let typed = match server {
        [] if !client.is_empty() => Match::No,
        _ => negotiations(server, 2).and(types(client)).and(types_a_line(client)),
    };
    both.or(negotiations(client, 2).and(types(server))).or(typed)
}

/// Whether bytes begin with this many negotiations.
fn negotiations(bytes: &[u8], wanted: usize) -> Match {
    let mut triples = bytes.chunks(3);
    for _ in 0..wanted {
        match triples.next() {
            Some(&[IAC, verb, option]) if NEGOTIATION.contains(&verb) && option <= MAX_OPTION => {}
            Some(&[IAC, verb]) if NEGOTIATION.contains(&verb) => return Match::NotYet,
            Some(&[IAC]) | None => return Match::NotYet,
            Some(_) => return Match::No,
        }
    }
    Match::Yes
}

fn types(bytes: &[u8]) -> Match {
    match bytes.first() {
        None => Match::NotYet,
        Some(&first) => Match::of(first.is_ascii_graphic() || b" \r\n\x1b\x07".contains(&first)),
    }
}

/// Whether what a person types ends a line that is no request of a client that took the server for another.
fn types_a_line(client: &[u8]) -> Match {
    const FOREIGN: [&[u8]; 4] = [b"HTTP/", b"SIP/", b"RTSP/", b"SSH-"];
    match client.iter().position(|&byte| matches!(byte, b'\r' | b'\n')) {
        Some(0) => Match::No,
        Some(end) => {
            let line = &client[..end];
            let is_foreign =
                FOREIGN.iter().any(|word| line.windows(word.len()).any(|window| window == *word));
            Match::of(!is_foreign && !b"*<".contains(&line[0]))
        }
        None if client.len() >= PEEK => Match::No,
        None => Match::NotYet,
    }
}
