//! POP3 (RFC 1939): a `+OK` greeting and one of the commands before login.

use super::sasl::{Exchange, Shown};
use super::text::{Lines, MAX_COMMANDS, command, word};
use super::{Credential, Dialogue, Match, Upgrade, begins};
use crate::tls::PEEK;

/// Commands that no other protocol with such greetings has.
const VERBS: &[&[u8]] = &[b"USER", b"CAPA", b"APOP", b"STLS"];
/// Commands that Redis has too, whose bare `+OK` could answer them.
const SHARED: &[&[u8]] = &[b"AUTH", b"QUIT", b"UTF8", b"LANG", b"NOOP"];

pub(super) fn pop3(client: &[u8], server: &[u8]) -> Match {
    let greeting = begins(server, b"+OK\r\n").or(begins(server, b"+OK\n")).or(begins(server, b"+OK "));
    let worded = match server.iter().position(|&byte| byte == b'\n') {
        Some(end) => Match::of(server[..end].trim_ascii_end().len() > b"+OK ".len()),
        None => Match::of(server.len() >= PEEK).or(Match::NotYet),
    };
    let shared = command(client, SHARED).and(begins(server, b"+OK ")).and(worded);
    greeting.and(command(client, VERBS).or(shared))
}

/// USER and PASS, AUTH (RFC 5034) and STLS (RFC 2595).
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut answers = Answers { lines: Lines::new(server) };
    answers.next(false);
    let mut lines = Lines::new(client);
    for _ in 0..MAX_COMMANDS {
        let Some(line) = lines.next() else { return dialogue };
        let (verb, argument) = word(line.text);
        let verb = verb.to_ascii_uppercase();
        let is_list = match verb.as_slice() {
            b"CAPA" => true,
            b"AUTH" | b"LANG" => argument.is_empty(),
            _ => false,
        };
        let mut answer = answers.next(is_list);
        match verb.as_slice() {
            b"STLS" => match answer {
                None => return dialogue.asking(),
                Some(Answer::Positive(end)) => return dialogue.switched(Upgrade::Pop3, line.end, end),
                Some(_) => {}
            },
            b"PASS" | b"APOP" => {
                if verb == b"PASS" && !argument.is_empty() {
                    dialogue.note(Some(Credential::Pop3Password));
                }
                match answer {
                    None => return dialogue,
                    Some(Answer::Positive(_)) => return dialogue.ended(),
                    Some(_) => {}
                }
            }
            b"AUTH" if !argument.is_empty() => {
                let (mechanism, initial) = word(argument);
                let mut exchange = Exchange::new(mechanism);
                if !initial.is_empty() {
                    dialogue.note(exchange.response(initial).map(credential));
                }
                while matches!(answer, Some(Answer::Continue)) {
                    let Some(line) = lines.next() else { return dialogue };
                    dialogue.note(exchange.response(line.text).map(credential));
                    answer = answers.next(false);
                }
                match answer {
                    None => return dialogue,
                    Some(Answer::Positive(_)) => return dialogue.ended(),
                    Some(_) => {}
                }
            }
            b"QUIT" => return dialogue.ended(),
            _ => {}
        }
    }
    dialogue.ended()
}

fn credential(shown: Shown) -> Credential {
    match shown {
        Shown::Plain => Credential::Pop3Plain,
        Shown::Login => Credential::Pop3Login,
    }
}

enum Answer {
    /// With the bytes of the server up to its end.
    Positive(usize),
    Negative,
    Continue,
}

struct Answers<'a> {
    lines: Lines<'a>,
}

impl Answers<'_> {
    /// The next answer; a positive one to a command that asks for a list goes up to a line with a dot.
    fn next(&mut self, is_list: bool) -> Option<Answer> {
        let line = self.lines.next()?;
        let mut end = line.end;
        match word(line.text).0 {
            b"+OK" => {
                if is_list {
                    end = self.lines.find(|line| line.text == b".")?.end;
                }
                Some(Answer::Positive(end))
            }
            b"+" => Some(Answer::Continue),
            _ => Some(Answer::Negative),
        }
    }
}
