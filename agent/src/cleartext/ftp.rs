//! FTP's control connection (RFC 959): a 220 greeting that does not say SMTP and one of the commands before and at login.

use super::reply::{Replies, SHARED, Service, greeted};
use super::text::{Lines, MAX_COMMANDS, command, is_one_of, word};
use super::{Credential, Dialogue, Match, Upgrade, smtp};

const VERBS: &[&[u8]] = &[
    b"USER", b"AUTH", b"FEAT", b"SYST", b"HOST", b"OPTS", b"CLNT", b"PBSZ", b"PASS", b"ACCT", b"LANG",
    b"STAT", b"CSID",
];
/// Names by which RFC 1635 and its time log in without a password.
const ANONYMOUS: &[&[u8]] = &[b"anonymous", b"ftp"];
/// RFC 4217 and its drafts.
const TLS: &[&[u8]] = &[b"TLS", b"TLS-C", b"TLS-P", b"SSL"];

pub(super) fn ftp(client: &[u8], server: &[u8]) -> Match {
    let greeted = greeted(server);
    if greeted == Match::No {
        return Match::No;
    }
    let service = Service::of(server);
    let own =
        command(client, VERBS).and(smtp::authenticates(client).not()).and(service.is_not(Service::Mail));
    greeted.and(own.or(command(client, SHARED).and(service.is(Service::Files))))
}

/// USER and PASS, and AUTH TLS (RFC 4217).
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut replies = Replies::new(server);
    if replies.next().is_none() {
        return dialogue;
    }
    let mut anonymous = false;
    let mut lines = Lines::new(client);
    for _ in 0..MAX_COMMANDS {
        let Some(line) = lines.next() else { return dialogue };
        let (verb, argument) = word(line.text);
        let reply = replies.next();
        match verb.to_ascii_uppercase().as_slice() {
            b"USER" => anonymous = is_one_of(argument.trim_ascii_end(), ANONYMOUS),
            b"PASS" => {
                if !anonymous && !argument.is_empty() {
                    dialogue.note(Some(Credential::FtpPassword));
                }
                match reply {
                    None => return dialogue,
                    Some(reply) if matches!(reply.code, 202 | 230) => return dialogue.ended(),
                    Some(_) => {}
                }
            }
            b"AUTH" if is_one_of(argument.trim_ascii_end(), TLS) => match reply {
                None => return dialogue.asking(),
                // 334 is what some servers of the drafts' time say.
                Some(reply) if matches!(reply.code, 234 | 334) => {
                    return dialogue.switched(Upgrade::Ftp, line.end, reply.end);
                }
                Some(_) => {}
            },
            // RFC 2228: what follows is protected by the mechanism.
            b"AUTH" => match reply {
                None => return dialogue.asking(),
                Some(reply) if matches!(reply.code, 234 | 334) => {
                    dialogue.protected = true;
                    return dialogue.ended();
                }
                Some(_) => {}
            },
            b"QUIT" => return dialogue.ended(),
            _ => {}
        }
    }
    dialogue.ended()
}
