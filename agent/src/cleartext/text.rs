//! Lines, words and first commands, as the protocols made of text share them.

use memchr::memchr;

use super::{Credential, Dialogue, Match, Switch, Upgrade, begins};

/// Most commands of one connection that are followed: clients authenticate or upgrade within a handful, and a bound keeps
/// what is compared with every earlier command linear.
pub(super) const MAX_COMMANDS: usize = 64;

impl Match {
    /// Both have to hold.
    pub(super) fn and(self, other: Match) -> Match {
        match (self, other) {
            (Match::No, _) | (_, Match::No) => Match::No,
            (Match::Yes, Match::Yes) => Match::Yes,
            _ => Match::NotYet,
        }
    }

    /// One has to hold.
    pub(super) fn or(self, other: Match) -> Match {
        match (self, other) {
            (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
            (Match::No, Match::No) => Match::No,
            _ => Match::NotYet,
        }
    }

    /// It must not hold.
    pub(super) fn not(self) -> Match {
        match self {
            Match::Yes => Match::No,
            Match::No => Match::Yes,
            Match::NotYet => Match::NotYet,
        }
    }

    /// It holds or it does not.
    pub(super) fn of(holds: bool) -> Match {
        if holds { Match::Yes } else { Match::No }
    }
}

impl Dialogue {
    /// Notes a credential; the first one counts.
    pub(super) fn note(&mut self, credential: Option<Credential>) {
        self.credential = self.credential.or(credential);
    }

    /// Nothing that follows matters.
    pub(super) fn ended(self) -> Dialogue {
        Dialogue { over: true, ..self }
    }

    /// Both sides agreed.
    pub(super) fn switched(self, from: Upgrade, client: usize, server: usize) -> Dialogue {
        Dialogue { switch: Some(Switch { from, client, server }), over: true, ..self }
    }

    /// The client asked for a switch and awaits the answer.
    pub(super) fn asking(self) -> Dialogue {
        Dialogue { asked: true, ..self }
    }
}

/// A line that arrived whole.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    /// Without its end, which is `\n` or `\r\n`.
    pub(super) text: &'a [u8],
    /// Bytes up to and with its end, counted from the connection's first.
    pub(super) end: usize,
}

/// The whole lines of one direction.
#[derive(Clone)]
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Lines { bytes, at: 0 }
    }

    /// From an offset on.
    pub(super) fn from(bytes: &'a [u8], at: usize) -> Self {
        Lines { bytes, at }
    }

    /// Passes over bytes that are not lines. None if they have not all arrived.
    pub(super) fn pass(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let length = memchr(b'\n', rest)?;
        let text = &rest[..length];
        self.at += length + 1;
        Some(Line { text: text.strip_suffix(b"\r").unwrap_or(text), end: self.at })
    }
}

/// The first word of a line, and what follows its spaces.
pub(super) fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii_start())
}

/// Whether a word is one of these, whatever its case.
pub(super) fn is_one_of(word: &[u8], words: &[&[u8]]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Whether `bytes` begin with `wanted` in any case, as far as they go.
pub(super) fn begins_ignoring_case(bytes: &[u8], wanted: &[u8]) -> Match {
    let count = bytes.len().min(wanted.len());
    match bytes[..count].eq_ignore_ascii_case(&wanted[..count]) {
        true if bytes.len() >= wanted.len() => Match::Yes,
        true => Match::NotYet,
        false => Match::No,
    }
}

/// Whether `bytes` begin with one of `wanted`, as far as they go.
pub(super) fn begins_with_one_of(bytes: &[u8], wanted: &[&[u8]]) -> Match {
    wanted.iter().fold(Match::No, |found, wanted| found.or(begins(bytes, wanted)))
}

/// Whether `bytes` begin with one of these words in any case, followed by a space or the line's end.
pub(super) fn command(bytes: &[u8], verbs: &[&[u8]]) -> Match {
    match bytes.iter().position(|&byte| matches!(byte, b' ' | b'\r' | b'\n')) {
        Some(end) => Match::of(is_one_of(&bytes[..end], verbs)),
        None if verbs
            .iter()
            .any(|verb| verb.len() >= bytes.len() && begins_ignoring_case(bytes, verb) != Match::No) =>
        {
            Match::NotYet
        }
        None => Match::No,
    }
}

/// `METHOD SP target SP version`, with a target that begins in one of these ways: the request line that SIP and RTSP share
/// with HTTP. A line longer than the prefix, which is `whole` then, is believed by its method and target.
pub(super) fn request_line(
    client: &[u8],
    whole: bool,
    methods: &[&[u8]],
    targets: &[&[u8]],
    version: &[u8],
) -> Match {
    let known = command(client, methods);
    if known != Match::Yes {
        return known;
    }
    let Some(space) = client.iter().position(|&byte| byte == b' ') else { return Match::No };
    let rest = &client[space + 1..];
    let target = targets.iter().fold(Match::No, |found, target| found.or(begins_ignoring_case(rest, target)));
    let line = match rest.iter().position(|&byte| byte == b'\n') {
        Some(end) => {
            let line = rest[..end].trim_ascii_end();
            let last = line.iter().rposition(|&byte| byte == b' ').map_or(line, |space| &line[space + 1..]);
            Match::of(last.starts_with(version))
        }
        None if whole => Match::Yes,
        None => Match::NotYet,
    };
    target.and(line)
}
