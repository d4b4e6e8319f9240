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
    let both = negotiates(client).and(negotiates(server));
    // A client that types does so after the server has spoken.
    let typed = match server {
        [] if !client.is_empty() => Match::No,
        _ => negotiations(server, 2).and(types(client)).and(types_a_line(client)),
    };
    both.or(negotiations(client, 2).and(types(server))).or(typed)
}

/// Whether bytes begin with a negotiation, and go on like telnet: text in UTF-16 and frames of MPEG audio begin with three such
/// bytes, too.
fn negotiates(bytes: &[u8]) -> Match {
    let goes_on = match bytes.get(3) {
        Some(&IAC) => Match::Yes,
        _ => types(bytes.get(3..).unwrap_or_default()),
    };
    negotiations(bytes, 1).and(goes_on)
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

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Name, Protocol, name};

    #[test]
    fn a_terminal_is_recognised_by_what_both_sides_negotiate() {
        let server = b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23\xff\xfd\x27";
        assert_all_prefixes(Protocol::Telnet, b"\xff\xfb\x18\xff\xfb\x20\xff\xfa\x18\0xterm\xff\xf0", server);
        assert_all_prefixes(Protocol::Telnet, b"\xff\xfc\x25root\r\n", b"\xff\xfd\x25\r\nlogin: ");
    }

    #[test]
    fn what_only_begins_like_a_negotiation_is_none() {
        let utf16 = |text: &str| -> Vec<u8> {
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
        };
        let (slash, digits) = (utf16("/join #x"), utf16("1024 ready"));
        let mpeg = b"\xff\xfb\x10\xc4\0\0\x03\xc0\0\x01\xa4\0\0\0\x20";
        let negotiates: &[u8] = b"\xff\xfd\x18\xff\xfd\x20\xff\xfd\x23";
        let cases: [(&[u8], &[u8]); 10] = [
            (&slash, &digits),
            (mpeg, mpeg),
            (mpeg, &digits),
            // Negotiations of options that nobody has assigned, of no verb, and bytes of one value.
            (b"\xff\xfb\x7f\xff\xfb\x7f", b"\xff\xfd\x7f\xff\xfd\x7f"),
            (b"\xff\xf0\x01\xff\xf0\x01", b"\xff\xf0\x01\xff\xf0\x01"),
            (&[0xff; 12], &[0xff; 12]),
            (&[0xfb; 12], &[0xfb; 12]),
            // One side alone does, once, or the other speaks something else.
            (b"\xff\xd8\xff\xe0\0\x10JFIF", negotiates),
            (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", negotiates),
            (b"GET / HTTP/1.1\r\n\r\n", negotiates),
        ];
        for (client, server) in cases {
            let seen = name(client, server);
            assert_eq!(
                telnet(client, server),
                Match::No,
                "{} / {}",
                client.escape_ascii(),
                server.escape_ascii()
            );
            assert_ne!(seen, Name::Found(Protocol::Telnet));
        }
    }
}
