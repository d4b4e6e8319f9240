//! Replies of three digits, and the 220 greeting that SMTP and FTP share (RFC 5321 section 4.2, RFC 959 section 4.2).

use super::Match;
use super::text::Lines;
use crate::tls::PEEK;

/// Commands that both protocols have: the greeting has to tell.
pub(super) const SHARED: &[&[u8]] = &[b"HELP", b"NOOP", b"QUIT", b"RSET"];

/// A final reply.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    /// 200 to 999.
    pub(super) code: u16,
    /// Bytes of the server up to and with its last line.
    pub(super) end: usize,
}

/// The final replies of a server in their order: those of one line and of several, without preliminary ones (1xx).
pub(super) struct Replies<'a> {
    lines: Lines<'a>,
}

impl<'a> Replies<'a> {
    pub(super) fn new(server: &'a [u8]) -> Self {
        Replies { lines: Lines::new(server) }
    }
}

impl Iterator for Replies<'_> {
    type Item = Reply;

    fn next(&mut self) -> Option<Reply> {
        loop {
            let first = self.lines.next()?;
            let code = code(first.text)?;
            let mut end = first.end;
            if first.text.get(3) == Some(&b'-') {
                loop {
                    let line = self.lines.next()?;
                    end = line.end;
                    if self::code(line.text) == Some(code) && line.text.get(3) != Some(&b'-') {
                        break;
                    }
                }
            }
            if code >= 200 {
                return Some(Reply { code, end });
            }
        }
    }
}

fn code(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) || !matches!(line.get(3), None | Some(b' ' | b'-')) {
        return None;
    }
    Some(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

/// Whether the server begins with a 220 reply.
pub(super) fn greeted(server: &[u8]) -> Match {
    match (server.get(..3).unwrap_or(server), server.get(3)) {
        (b"220", Some(b' ' | b'-' | b'\r' | b'\n')) => Match::Yes,
        (b"" | b"2" | b"22" | b"220", None) => Match::NotYet,
        _ => Match::No,
    }
}

/// What a 220 greeting says that its server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// It says SMTP, ESMTP or LMTP.
    Mail,
    /// It says FTP.
    Files,
    /// Neither.
    Unsaid,
    /// The greeting has not arrived whole.
    Unheard,
}

impl Service {
    /// Of the first bytes of a server. A greeting longer than the prefix is taken by what is there.
    pub(super) fn of(server: &[u8]) -> Service {
        let greeting = match Replies::new(server).next() {
            Some(reply) => &server[..reply.end],
            None if server.len() >= PEEK => server,
            None => return Service::Unheard,
        };
        // The server's name says less than its program: smtp.example.org may serve files.
        let words = || greeting.split(u8::is_ascii_whitespace);
        let of_programs = words().filter(|word| !word.contains(&b'.')).find_map(said);
        of_programs.or_else(|| words().find_map(said)).unwrap_or(Service::Unsaid)
    }

    /// Whether it is this.
    pub(super) fn is(self, service: Service) -> Match {
        if self == Service::Unheard { Match::NotYet } else { Match::of(self == service) }
    }

    /// Whether it is anything but this.
    pub(super) fn is_not(self, service: Service) -> Match {
        if self == Service::Unheard { Match::NotYet } else { Match::of(self != service) }
    }
}

/// What one word of a greeting says.
fn said(word: &[u8]) -> Option<Service> {
    word.windows(3).find_map(|letters| match letters.to_ascii_uppercase().as_slice() {
        b"MTP" => Some(Service::Mail),
        b"FTP" => Some(Service::Files),
        _ => None,
    })
}
