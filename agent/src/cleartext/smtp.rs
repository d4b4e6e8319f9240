//! SMTP (RFC 5321), submission and LMTP (RFC 2033): a 220 greeting and the client's hello, or what some say instead.

use super::reply::{Replies, SHARED, Service, greeted};
use super::sasl::{Exchange, Shown};
use super::text::{Lines, MAX_COMMANDS, command, word};
use super::{Credential, Dialogue, Match, Upgrade};

/// Commands that only SMTP has.
const VERBS: &[&[u8]] = &[b"EHLO", b"HELO", b"LHLO", b"STARTTLS"];
/// Commands with which some clients begin where the greeting says SMTP.
const HASTY: &[&[u8]] = &[b"AUTH", b"MAIL"];
/// SASL mechanisms that are no security mechanism of FTP (RFC 2228), which has GSSAPI and KERBEROS_V4 too.
const MECHANISMS: &[&[u8]] = &[
    b"PLAIN",
    b"LOGIN",
    b"CRAM-MD5",
    b"DIGEST-MD5",
    b"NTLM",
    b"EXTERNAL",
    b"XOAUTH2",
    b"OAUTHBEARER",
    b"SCRAM-SHA-1",
    b"SCRAM-SHA-1-PLUS",
    b"SCRAM-SHA-256",
    b"SCRAM-SHA-256-PLUS",
];

pub(super) fn smtp(client: &[u8], server: &[u8]) -> Match {
    let greeted = greeted(server);
    if greeted == Match::No {
        return Match::No;
    }
    let service = Service::of(server);
    let hasty = command(client, HASTY).or(command(client, SHARED)).and(service.is(Service::Mail));
    let authenticates = authenticates(client).and(service.is_not(Service::Files));
    greeted.and(command(client, VERBS).or(authenticates).or(hasty))
}

/// AUTH with a mechanism of SASL: FTP's command of that name takes others.
pub(super) fn authenticates(client: &[u8]) -> Match {
    match command(client, &[b"AUTH"]) {
        Match::Yes if client.get(4) == Some(&b' ') => command(&client[5..], MECHANISMS),
        Match::Yes => Match::No,
        other => other,
    }
}

/// STARTTLS (RFC 3207) and AUTH (RFC 4954). Each of the client's lines has one reply until mail is accepted.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut replies = Replies::new(server);
    if replies.next().is_none() {
        return dialogue;
    }
    let mut lines = Lines::new(client);
    for _ in 0..MAX_COMMANDS {
        let Some(line) = lines.next() else { return dialogue };
        let (verb, argument) = word(line.text);
        let mut reply = replies.next();
        match verb.to_ascii_uppercase().as_slice() {
            b"STARTTLS" => match reply {
                None => return dialogue.asking(),
                Some(reply) if reply.code == 220 => {
                    return dialogue.switched(Upgrade::Smtp, line.end, reply.end);
                }
                Some(_) => {}
            },
            b"AUTH" => {
                let (mechanism, initial) = word(argument);
                let mut exchange = Exchange::new(mechanism);
                if !initial.is_empty() {
                    dialogue.note(exchange.response(initial).map(credential));
                }
                // What follows is a response only if the server asks for one.
                while reply.is_some_and(|reply| reply.code == 334) {
                    let Some(line) = lines.next() else { return dialogue };
                    dialogue.note(exchange.response(line.text).map(credential));
                    reply = replies.next();
                }
                match reply {
                    None => return dialogue,
                    Some(reply) if reply.code == 235 => return dialogue.ended(),
                    Some(_) => {}
                }
            }
            // Nobody upgrades or authenticates after mail was accepted. BDAT is followed by what are no commands.
            b"MAIL" | b"DATA" => match reply {
                None => return dialogue,
                Some(reply) if reply.code < 400 => return dialogue.ended(),
                Some(_) => {}
            },
            b"BDAT" | b"QUIT" => return dialogue.ended(),
            _ => {}
        }
    }
    dialogue.ended()
}

fn credential(shown: Shown) -> Credential {
    match shown {
        Shown::Plain => Credential::SmtpPlain,
        Shown::Login => Credential::SmtpLogin,
    }
}
