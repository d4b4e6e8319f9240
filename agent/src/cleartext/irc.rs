//! IRC (RFC 1459, RFC 2812): the commands with which a client registers, a server's message, and STARTTLS
//! (IRCv3 "tls": RPL_STARTTLS is numeric 670, ERR_STARTTLS 691).

use super::sasl::Exchange;
use super::text::{Lines, MAX_COMMANDS, begins_with_one_of, command, is_one_of, word};
use super::{Credential, Dialogue, Match, Upgrade};
use crate::tls::PEEK;

const VERBS: &[&[u8]] = &[b"CAP", b"NICK", b"USER", b"PASS", b"PROTOCTL", b"WEBIRC", b"STARTTLS"];
/// What a server says without naming itself.
const UNPREFIXED: &[&[u8]] = &[b"NOTICE ", b"PING ", b"ERROR :"];
/// Longest command of a server: `PROTOCTL`, `BATCH`, three digits …
const MAX_COMMAND: usize = 12;

pub(super) fn irc(client: &[u8], server: &[u8]) -> Match {
    command(client, VERBS).and(begins_with_one_of(server, UNPREFIXED).or(prefixed(server)))
}

/// `:name COMMAND ` with a command of capitals or three digits.
fn prefixed(server: &[u8]) -> Match {
    let Some((b':', rest)) = server.split_first() else { return Match::of(false).or(empty(server)) };
    let end = rest.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(rest.len());
    let Some(after) = rest.get(end..).and_then(|after| after.strip_prefix(b" ")) else {
        return if end == rest.len() && server.len() < PEEK { Match::NotYet } else { Match::No };
    };
    let length = after.iter().position(|&byte| byte == b' ').unwrap_or(after.len());
    let command = &after[..length];
    let is_numeric = command.len() <= 3 && command.iter().all(u8::is_ascii_digit);
    let is_word = command.len() <= MAX_COMMAND && command.iter().all(u8::is_ascii_uppercase);
    match length < after.len() {
        _ if !is_numeric && !is_word || end == 0 => Match::No,
        true => Match::of(length >= 3),
        false => Match::of(server.len() < PEEK).and(Match::NotYet),
    }
}

fn empty(server: &[u8]) -> Match {
    if server.is_empty() { Match::NotYet } else { Match::No }
}

/// PASS, OPER, SASL PLAIN, and the switch.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut exchange = None;
    for line in Lines::new(client).take(MAX_COMMANDS) {
        let (verb, argument) = word(line.text);
        let shown = match verb.to_ascii_uppercase().as_slice() {
            b"PASS" => !argument.is_empty() && argument != b":",
            b"OPER" => !word(argument).1.is_empty(),
            b"STARTTLS" => match answer(server) {
                Some((true, end)) => return dialogue.switched(Upgrade::Irc, line.end, end),
                // What follows may already be TLS.
                None => return dialogue.asking(),
                Some((false, _)) => false,
            },
            b"AUTHENTICATE" if is_one_of(argument, &[b"PLAIN"]) => {
                exchange = Some(Exchange::new(argument));
                false
            }
            b"AUTHENTICATE" => {
                exchange.as_mut().is_some_and(|exchange| exchange.response(argument).is_some())
            }
            _ => false,
        };
        if shown {
            dialogue.note(Some(Credential::IrcPassword));
            return dialogue.ended();
        }
    }
    dialogue
}

/// Whether the server grants STARTTLS, and its bytes up to the end of that line. What it refuses may be another command.
fn answer(server: &[u8]) -> Option<(bool, usize)> {
    let numerics = |wanted: &'static [&[u8]]| {
        Lines::new(server).take(MAX_COMMANDS).find(|line| {
            let (source, rest) = word(line.text);
            source.starts_with(b":") && wanted.contains(&word(rest).0)
        })
    };
    // ERR_STARTTLS, ERR_UNKNOWNCOMMAND, ERR_NOTREGISTERED.
    let refused = || numerics(&[b"691", b"421", b"451"]).map(|line| (false, line.end));
    numerics(&[b"670"]).map(|line| (true, line.end)).or_else(refused)
}
