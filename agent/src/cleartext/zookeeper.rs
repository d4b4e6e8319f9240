//! Apache ZooKeeper: the session request of a client, or a command of four letters with the answer that fits it.
//!
//! Source: `zookeeper.jute` (ConnectRequest, ConnectResponse) and "ZooKeeper Administrator's Guide".

use super::text::begins_with_one_of;
use super::{Match, begins};

/// Bytes of a session's password.
const PASSWORD: &[u8] = &[0, 0, 0, 16];
/// Commands, and how their answers begin.
const FOUR_LETTERS: &[(&[u8], &[&[u8]])] = &[
    (b"ruok", &[b"imok"]),
    (b"stat", &[b"Zookeeper version:"]),
    (b"srvr", &[b"Zookeeper version:"]),
    (b"mntr", &[b"zk_version\t"]),
    (b"conf", &[b"clientPort=", b"secureClientPort="]),
    (b"envi", &[b"Environment:\n"]),
    (b"isro", &[b"rw", b"ro"]),
    (b"dump", &[b"SessionTracker dump:"]),
];
const REFUSED: &[u8] = b" is not executed because it is not in the whitelist.";

pub(super) fn zookeeper(client: &[u8], server: &[u8]) -> Match {
    match client.first() {
        Some(0) => session(client, 24, &[44, 45]).and(session(server, 16, &[36, 37])),
        _ => four_letters(client, server),
    }
}

/// `length, version 0, …, 16, password`: the password's length stands at `password`, counted from the version, whole lengths
/// being these: without and with the flag for servers that only read.
fn session(bytes: &[u8], password: usize, lengths: &[u8]) -> Match {
    let length = lengths
        .iter()
        .fold(Match::No, |found, &length| found.or(begins(bytes, &[0, 0, 0, length, 0, 0, 0, 0])));
    length.and(match bytes.get(4 + password..) {
        Some(rest) => begins(rest, PASSWORD),
        None => Match::NotYet,
    })
}

fn four_letters(client: &[u8], server: &[u8]) -> Match {
    FOUR_LETTERS.iter().fold(Match::No, |found, (command, answers)| {
        let refused = match server.get(command.len()..) {
            Some(rest) => begins(server, command).and(begins(rest, REFUSED)),
            None => begins(server, command),
        };
        found.or(begins(client, command).and(begins_with_one_of(server, answers).or(refused)))
    })
}
