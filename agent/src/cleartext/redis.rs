//! Redis and Valkey: a command as an array of strings, or as a line that is answered in RESP.
//!
//! Source: "Redis serialization protocol specification".

use super::text::{Lines, MAX_COMMANDS, begins_with_one_of, command, is_one_of, word};
use super::{Credential, Dialogue, Match, begins};
use crate::tls::PEEK;

/// Commands that people and probes send as lines. QUIT is left out: POP3 has it, and both say `+OK`.
const INLINE: &[&[u8]] = &[
    b"PING",
    b"INFO",
    b"AUTH",
    b"HELLO",
    b"SELECT",
    b"GET",
    b"SET",
    b"KEYS",
    b"CONFIG",
    b"COMMAND",
    b"CLIENT",
    b"MONITOR",
    b"DBSIZE",
    b"EXISTS",
    b"INCR",
    b"DEL",
    b"TTL",
    b"FLUSHALL",
    b"SCAN",
    b"ROLE",
    b"TIME",
    b"LASTSAVE",
];
/// Answers that are RESP alone; numbers are looked at apart.
const ANSWERS: &[&[u8]] = &[
    b"+PONG\r\n",
    b"+OK\r\n",
    b"-ERR ",
    b"-NOAUTH ",
    b"-WRONGPASS ",
    b"-DENIED ",
    b"-NOPERM ",
    b"-LOADING ",
    b"$-1\r\n",
];
/// Arguments of a command that are kept in view: the most that HELLO needs.
const KEPT: usize = 8;
/// Digits of a length: more is no length that Redis takes (512 MiB).
const MAX_DIGITS: usize = 9;
/// Longest name of a command.
const MAX_NAME: usize = 32;

pub(super) fn redis(client: &[u8], server: &[u8]) -> Match {
    match client.first() {
        Some(b'*') => array_of_strings(client),
        _ => inline(client).and(begins_with_one_of(server, ANSWERS).or(counted(server))),
    }
}

/// `*2\r\n$4\r\nAUTH\r\n` up to the command's name.
fn array_of_strings(client: &[u8]) -> Match {
    let mut at = 0;
    let found = header(client, &mut at, b'*').and_then(|arguments| {
        let length = header(client, &mut at, b'$')?;
        if arguments == 0 || length == 0 || length > MAX_NAME {
            return Err(Match::No);
        }
        let rest = client.get(at..).unwrap_or_default();
        let name = &rest[..rest.len().min(length)];
        if !name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err(Match::No);
        }
        Ok(begins(&rest[name.len()..], b"\r\n"))
    });
    match found {
        Ok(found) | Err(found) => found,
    }
}

/// `$12\r\n`: the number, or why there is none.
fn header(bytes: &[u8], at: &mut usize, kind: u8) -> Result<usize, Match> {
    let rest = bytes.get(*at..).unwrap_or_default();
    let Some((&first, rest)) = rest.split_first() else { return Err(Match::NotYet) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if first != kind || digits > MAX_DIGITS {
        return Err(Match::No);
    }
    match begins(&rest[digits..], b"\r\n") {
        Match::Yes if digits > 0 => {
            *at += 1 + digits + 2;
            Ok(rest[..digits].iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
        }
        Match::NotYet if digits > 0 || rest.is_empty() => Err(Match::NotYet),
        _ => Err(Match::No),
    }
}

/// A command line. HTTP has GET too; AUTH of POP3 names a mechanism, or nothing.
fn inline(client: &[u8]) -> Match {
    let known = command(client, INLINE);
    if known != Match::Yes {
        return known;
    }
    match Lines::new(client).next() {
        None if client.len() >= PEEK => Match::No,
        None => Match::NotYet,
        Some(line) if is_one_of(word(line.text).0, &[b"AUTH"]) => {
            let argument = word(word(line.text).1).0.to_ascii_uppercase();
            let is_mechanism = [
                "PLAIN", "LOGIN", "CRAM-", "DIGEST-", "NTLM", "SCRAM-", "GSS", "EXTERNAL", "XOAUTH", "OAUTH",
            ]
            .iter()
            .any(|name| argument.starts_with(name.as_bytes()));
            Match::of(!argument.is_empty() && !is_mechanism)
        }
        Some(line) => Match::of(!line.text.windows(6).any(|window| window == b" HTTP/")),
    }
}

/// A bulk string, number or array by its count.
fn counted(server: &[u8]) -> Match {
    [b'$', b':', b'*', b'%'].into_iter().fold(Match::No, |found, kind| {
        found.or(match header(server, &mut 0, kind) {
            Ok(_) => Match::Yes,
            Err(found) => found,
        })
    })
}

/// AUTH, and HELLO with AUTH.
pub(super) fn listen(client: &[u8], _server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut at = 0;
    for _ in 0..MAX_COMMANDS {
        let mut arguments: [&[u8]; KEPT] = [b""; KEPT];
        let next = match client.get(at) {
            Some(b'*') => read_array(client, at, &mut arguments),
            _ => read_line(client, at, &mut arguments),
        };
        let Some(next) = next else { return dialogue };
        at = next;
        if shows_password(&arguments) {
            dialogue.note(Some(Credential::RedisAuth));
            return dialogue.ended();
        }
    }
    dialogue.ended()
}

fn read_array<'a>(bytes: &'a [u8], mut at: usize, arguments: &mut [&'a [u8]; KEPT]) -> Option<usize> {
    let count = header(bytes, &mut at, b'*').ok()?;
    for index in 0..count {
        let length = header(bytes, &mut at, b'$').ok()?;
        let argument = bytes.get(at..)?.get(..length)?;
        at += length;
        bytes.get(at..)?.strip_prefix(b"\r\n")?;
        at += 2;
        if let Some(kept) = arguments.get_mut(index) {
            *kept = argument;
        }
    }
    Some(at)
}

fn read_line<'a>(bytes: &'a [u8], at: usize, arguments: &mut [&'a [u8]; KEPT]) -> Option<usize> {
    let line = Lines::from(bytes, at).next()?;
    let words = line.text.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    for (kept, word) in arguments.iter_mut().zip(words) {
        *kept = if word == b"\"\"" || word == b"''" { b"" } else { word };
    }
    Some(line.end)
}

fn shows_password(arguments: &[&[u8]; KEPT]) -> bool {
    let [name, rest @ ..] = arguments;
    match name.to_ascii_uppercase().as_slice() {
        // With or without a user.
        b"AUTH" => rest.iter().take(2).rev().any(|argument| !argument.is_empty()),
        b"HELLO" => rest.windows(3).any(|three| is_one_of(three[0], &[b"AUTH"]) && !three[2].is_empty()),
        _ => false,
    }
}
