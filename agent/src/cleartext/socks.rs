//! SOCKS 5 (RFC 1928, RFC 1929), 4 and 4a: the greeting and what the proxy answers.

use super::{Credential, Dialogue, Match, Upgrade};

const NO_AUTHENTICATION: u8 = 0;
const NO_METHOD: u8 = 0xff;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const BIND: u8 = 2;
/// Most methods of a client: IANA has assigned ten.
const MAX_METHODS: usize = 10;
/// Bytes of a SOCKS 4 request before its user, and of an answer.
const VERSION_4_HEADER: usize = 8;
/// A SOCKS 4 request that is granted.
const GRANTED: u8 = 90;
/// Bytes in which the strings of a SOCKS 4 request have to end.
const MAX_VERSION_4: usize = crate::tls::PEEK;

pub(super) fn socks(client: &[u8], server: &[u8]) -> Match {
    match client.first() {
        Some(5) => version_5(client, server),
        Some(4) => version_4(client, server),
        Some(_) => Match::No,
        None => Match::NotYet,
    }
}

/// `5, count, methods`, answered by one of those methods.
fn version_5(client: &[u8], server: &[u8]) -> Match {
    let Some(&count) = client.get(1) else { return Match::NotYet };
    let count = usize::from(count);
    if count == 0 || count > MAX_METHODS {
        return Match::No;
    }
    let methods = &client[2..client.len().min(2 + count)];
    // Assigned methods, or private ones, none twice.
    let plausible = |at: usize, method: u8| {
        (method <= 9 || method >= 0x80) && method != NONE_ACCEPTABLE && !methods[..at].contains(&method)
    };
    if !methods.iter().enumerate().all(|(at, &method)| plausible(at, method)) {
        return Match::No;
    }
    match (methods.len() == count, server) {
        (_, [first, ..]) if *first != 5 => Match::No,
        (true, [_, method, ..]) => Match::of(*method == NONE_ACCEPTABLE || methods.contains(method)),
        _ => Match::NotYet,
    }
}

/// `4, command, port, address, user, 0`, and for 4a a host, answered by eight bytes.
fn version_4(client: &[u8], server: &[u8]) -> Match {
    let request = match version_4_end(client) {
        Ok(_) => Match::Yes,
        Err(found) => found,
    };
    let answer = match server {
        [] | [0] => Match::NotYet,
        [0, 90..=93, rest @ ..] if rest.len() >= VERSION_4_HEADER - 2 => Match::Yes,
        [0, 90..=93, ..] => Match::NotYet,
        _ => Match::No,
    };
    request.and(answer)
}

/// Where a SOCKS 4 request ends, or whether it can still be one.
fn version_4_end(client: &[u8]) -> Result<usize, Match> {
    if client.get(1).is_some_and(|command| !matches!(*command, CONNECT | BIND)) {
        return Err(Match::No);
    }
    let Some(address) = client.get(4..VERSION_4_HEADER) else { return Err(Match::NotYet) };
    // 0.0.0.x with a name behind the user is 4a.
    let strings = if matches!(address, [0, 0, 0, last] if *last != 0) { 2 } else { 1 };
    let mut at = VERSION_4_HEADER;
    for _ in 0..strings {
        let rest = client.get(at..client.len().min(MAX_VERSION_4)).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        if !rest[..length].iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            return Err(Match::No);
        }
        if length == rest.len() {
            return Err(if client.len() < MAX_VERSION_4 { Match::NotYet } else { Match::No });
        }
        at += length + 1;
    }
    Ok(at)
}

/// User and password, and the switch once the proxy has connected.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let ended = match client.first() {
        Some(4) => listen_4(client, server, &mut dialogue),
        _ => listen_5(client, server, &mut dialogue),
    };
    match ended {
        Some(()) => dialogue.ended(),
        None => dialogue,
    }
}

/// Some once nothing more can be learnt.
fn listen_4(client: &[u8], server: &[u8], dialogue: &mut Dialogue) -> Option<()> {
    let end = version_4_end(client).ok()?;
    // A second answer says that the awaited peer has connected.
    let answers = if client.get(1) == Some(&BIND) { 2 } else { 1 };
    dialogue.asked = true;
    for answer in 0..answers {
        let answer = server.get(answer * VERSION_4_HEADER..)?.get(..VERSION_4_HEADER)?;
        if answer[1] != GRANTED {
            dialogue.asked = false;
            return Some(());
        }
    }
    dialogue.asked = false;
    *dialogue = dialogue.switched(Upgrade::Socks, end, answers * VERSION_4_HEADER);
    Some(())
}

/// Some once nothing more can be learnt.
fn listen_5(client: &[u8], server: &[u8], dialogue: &mut Dialogue) -> Option<()> {
    let mut sent = 2 + usize::from(*client.get(1)?);
    let mut answered = 2;
    match *server.get(1)? {
        NO_AUTHENTICATION => {}
        USER_AND_PASSWORD => {
            let user = usize::from(*client.get(sent + 1)?);
            let password = usize::from(*client.get(sent + 2 + user)?);
            client.get(sent + 2 + user + password)?;
            if password > 0 {
                dialogue.note(Some(Credential::SocksPassword));
            }
            sent += 3 + user + password;
            if *server.get(answered + 1)? != 0 {
                return Some(());
            }
            answered += 2;
        }
        // RFC 1928 section 3: no method is acceptable, and the connection ends.
        NO_METHOD => return Some(()),
        // GSS-API and the others wrap what follows.
        _ => {
            dialogue.protected = true;
            return Some(());
        }
    }
    let command = *client.get(sent + 1)?;
    let client_end = sent + message_5(client.get(sent..)?)?;
    let answers = match command {
        CONNECT => 1,
        BIND => 2,
        _ => return Some(()),
    };
    dialogue.asked = true;
    for _ in 0..answers {
        let answer = server.get(answered..)?;
        if *answer.get(1)? != 0 {
            dialogue.asked = false;
            return Some(());
        }
        answered += message_5(answer)?;
    }
    dialogue.asked = false;
    *dialogue = dialogue.switched(Upgrade::Socks, client_end, answered);
    Some(())
}

/// Bytes of a request or an answer: `5, what, 0, kind of address, address, port`, once it is whole.
fn message_5(bytes: &[u8]) -> Option<usize> {
    let address = match *bytes.get(3)? {
        1 => 4,
        3 => 1 + usize::from(*bytes.get(4)?),
        4 => 16,
        _ => return None,
    };
    let length = 4 + address + 2;
    (bytes.len() >= length).then_some(length)
}
