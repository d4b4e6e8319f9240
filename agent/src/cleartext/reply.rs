//! Replies of three digits, and the 220 greeting that SMTP and FTP share (RFC 5321 section 4.2, RFC 959 section 4.2).

use super::Match;
use super::text::{Lines, command};
use crate::tls::PEEK;

/// Commands that both protocols have: the greeting has to tell.
const SHARED: &[&[u8]] = &[b"HELP", b"NOOP", b"QUIT", b"RSET"];

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

/// A 220 greeting, answered by a first command that only this protocol has, or by one that both have if the greeting says
/// `word` before it says `other`.
pub(super) fn greeted(client: &[u8], server: &[u8], own: &[&[u8]], word: &[u8], other: &[u8]) -> Match {
    let greeting = match (server.get(..3).unwrap_or(server), server.get(3)) {
        (b"220", Some(b' ' | b'-' | b'\r' | b'\n')) => Match::Yes,
        (b"" | b"2" | b"22" | b"220", None) => Match::NotYet,
        _ => Match::No,
    };
    let named = || {
        let first = server.iter().enumerate().find_map(|(at, _)| {
            let rest = &server[at..];
            let is =
                |word: &[u8]| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
            if is(word) { Some(true) } else { is(other).then_some(false) }
        });
        match first {
            Some(own) => Match::of(own),
            None if server.contains(&b'\n') || server.len() >= PEEK => Match::No,
            None => Match::NotYet,
        }
    };
    greeting.and(match command(client, own) {
        Match::No => command(client, SHARED).and(named()),
        own => own,
    })
}
