//! IMAP (RFC 9051, RFC 3501): an untagged greeting and a tagged command of those before login.

use super::sasl::{Exchange, Shown};
use super::text::{Line, Lines, MAX_COMMANDS, begins_ignoring_case, command, is_one_of, word};
use super::{Credential, Dialogue, Match, Upgrade};

const GREETINGS: &[&[u8]] = &[b"* OK ", b"* PREAUTH ", b"* OK\r\n"];
const VERBS: &[&[u8]] = &[
    b"CAPABILITY",
    b"LOGIN",
    b"AUTHENTICATE",
    b"STARTTLS",
    b"ID",
    b"NOOP",
    b"LOGOUT",
    b"ENABLE",
    b"NAMESPACE",
    b"LIST",
    b"SELECT",
];
/// Longest tag that is believed: clients count.
const MAX_TAG: usize = 32;

pub(super) fn imap(client: &[u8], server: &[u8]) -> Match {
    GREETINGS
        .iter()
        .fold(Match::No, |found, greeting| found.or(begins_ignoring_case(server, greeting)))
        .and(tagged_command(client))
}

fn tagged_command(client: &[u8]) -> Match {
    let end = client.iter().position(|&byte| byte == b' ').unwrap_or(client.len());
    let tag = &client[..end];
    if end > MAX_TAG || !tag.iter().all(|&byte| byte.is_ascii_graphic() && !b"(){%*\"\\+".contains(&byte)) {
        return Match::No;
    }
    match client.get(end + 1..) {
        None => Match::NotYet,
        Some(_) if tag.is_empty() => Match::No,
        Some(rest) => command(rest, VERBS),
    }
}

/// LOGIN, AUTHENTICATE (also with an initial response, RFC 4959), literals (RFC 7888) and STARTTLS.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut session = Session { server, lines: Lines::new(client), continued: 0, tags: Vec::new() };
    for _ in 0..MAX_COMMANDS {
        let Some(line) = session.lines.next() else { return dialogue };
        let (tag, rest) = word(line.text);
        let (verb, argument) = word(rest);
        session.tags.push(tag);
        let step = match verb.to_ascii_uppercase().as_slice() {
            b"STARTTLS" => match session.answer() {
                Some(Answer::Done { ok: true, end }) => {
                    return dialogue.switched(Upgrade::Imap, line.end, end);
                }
                Some(_) => Some(Step::Next),
                None => return dialogue.asking(),
            },
            b"AUTHENTICATE" => session.authenticate(argument, &mut dialogue),
            b"LOGIN" => session.login(argument, &mut dialogue),
            b"LOGOUT" => Some(Step::Over),
            _ => session.literals(line).map(|_| Step::Next),
        };
        match step {
            None => return dialogue,
            Some(Step::Over) => return dialogue.ended(),
            Some(Step::Next) => {}
        }
    }
    dialogue.ended()
}

enum Step {
    Next,
    Over,
}

/// What the server says first to a command, of what was not told before.
enum Answer {
    Continue,
    Done { ok: bool, end: usize },
}

struct Session<'a> {
    server: &'a [u8],
    lines: Lines<'a>,
    /// Continuation requests that were used up.
    continued: usize,
    /// Of the commands so far, at most [`MAX_COMMANDS`]. The same tag may come again.
    tags: Vec<&'a [u8]>,
}

impl<'a> Session<'a> {
    /// The answer to the last command. None if it has not arrived.
    fn answer(&mut self) -> Option<Answer> {
        let tag = self.tags.last().copied()?;
        let mut uses = self.tags.iter().filter(|&&other| other == tag).count();
        let mut continuations = self.continued + 1;
        for line in Lines::new(self.server) {
            let (first, rest) = word(line.text);
            if first == b"+" {
                continuations -= 1;
                if continuations == 0 {
                    self.continued += 1;
                    return Some(Answer::Continue);
                }
            } else if first == tag {
                uses -= 1;
                if uses == 0 {
                    return Some(Answer::Done { ok: is_one_of(word(rest).0, &[b"OK"]), end: line.end });
                }
            }
        }
        None
    }

    fn authenticate(&mut self, argument: &[u8], dialogue: &mut Dialogue) -> Option<Step> {
        let (mechanism, initial) = word(argument);
        let mut exchange = Exchange::new(mechanism);
        if !initial.is_empty() {
            dialogue.note(exchange.response(initial).map(credential));
        }
        loop {
            match self.answer()? {
                Answer::Done { ok: true, .. } => return Some(Step::Over),
                Answer::Done { ok: false, .. } => return Some(Step::Next),
                Answer::Continue => {
                    let line = self.lines.next()?;
                    dialogue.note(exchange.response(line.text).map(credential));
                }
            }
        }
    }

    /// `LOGIN user password`, each of them an atom, quoted, or a literal of its own line.
    fn login(&mut self, argument: &'a [u8], dialogue: &mut Dialogue) -> Option<Step> {
        let mut rest = argument;
        for is_password in [false, true] {
            let (given, after) = match literal(rest) {
                Some((length, needs_leave)) => {
                    if needs_leave && let Answer::Done { .. } = self.answer()? {
                        return Some(Step::Next);
                    }
                    let given = self.lines.pass(length)?;
                    (!given.is_empty(), self.lines.next()?.text)
                }
                None => string(rest),
            };
            if is_password && given {
                dialogue.note(Some(Credential::ImapLogin));
            }
            rest = after.trim_ascii_start();
        }
        Some(match self.answer()? {
            Answer::Done { ok: true, .. } => Step::Over,
            _ => Step::Next,
        })
    }

    /// Passes over the literals of a command that does not matter.
    fn literals(&mut self, mut line: Line<'a>) -> Option<()> {
        while let Some((length, needs_leave)) = literal(line.text) {
            if needs_leave && let Answer::Done { .. } = self.answer()? {
                break;
            }
            self.lines.pass(length)?;
            line = self.lines.next()?;
        }
        Some(())
    }
}

/// Whether an atom or quoted string is not empty, and what follows it.
fn string(text: &[u8]) -> (bool, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let (atom, rest) = word(text);
        return (!atom.is_empty(), rest);
    };
    let mut escaped = false;
    let end = quoted.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    match end {
        Some(end) => (end > 0, &quoted[end + 1..]),
        None => (!quoted.is_empty(), b""),
    }
}

/// The literal that a line announces at its end, `{12}` or `{12+}`: its length, and whether it waits for leave.
fn literal(text: &[u8]) -> Option<(usize, bool)> {
    let open = text.iter().rposition(|&byte| byte == b'{')?;
    let inside = text.get(open + 1..)?.strip_suffix(b"}")?;
    let (digits, needs_leave) = match inside.strip_suffix(b"+") {
        Some(digits) => (digits, false),
        None => (inside, true),
    };
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((digits.iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0')), needs_leave))
}

fn credential(shown: Shown) -> Credential {
    match shown {
        Shown::Plain => Credential::ImapPlain,
        Shown::Login => Credential::ImapLogin,
    }
}
