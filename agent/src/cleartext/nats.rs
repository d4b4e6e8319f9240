//! NATS: the server's INFO, then the client's CONNECT, or its TLS ClientHello at once.
//!
//! Source: "NATS Client Protocol" of the NATS documentation.

use super::text::{Lines, begins_ignoring_case, word};
use super::{Credential, Dialogue, Match, Upgrade, begins};

/// A TLS handshake record of any version.
const TLS_RECORD: &[u8] = &[0x16, 3];
/// Fields of CONNECT that hold a secret; `jwt` is signed for with `sig` and holds none.
const SECRETS: [&[u8]; 2] = [b"pass", b"auth_token"];

pub(super) fn nats(client: &[u8], server: &[u8]) -> Match {
    let info = begins_ignoring_case(server, b"INFO {");
    info.and(begins_ignoring_case(client, b"CONNECT {").or(begins(client, TLS_RECORD)))
}

/// CONNECT with a password or token; TLS right after INFO.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let dialogue = Dialogue::default();
    if begins(client, TLS_RECORD) == Match::Yes {
        return match Lines::new(server).next() {
            Some(info) => dialogue.switched(Upgrade::Nats, 0, info.end),
            None => dialogue,
        };
    }
    match Lines::new(client).next() {
        Some(connect) if shows_secret(word(connect.text).1) => {
            Dialogue { credential: Some(Credential::NatsPassword), ..dialogue.ended() }
        }
        Some(_) => dialogue.ended(),
        None => dialogue,
    }
}

/// Whether JSON has one of the fields with a string that is not empty.
fn shows_secret(mut json: &[u8]) -> bool {
    let mut is_secret = false;
    while let Some(open) = json.iter().position(|&byte| byte == b'"') {
        let inside = &json[open + 1..];
        let mut escaped = false;
        let end = inside.iter().position(|&byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else { return false };
        let (string, after) = (&inside[..end], inside[end + 1..].trim_ascii_start());
        match after.strip_prefix(b":") {
            // Only a string right behind its name is its value.
            Some(value) => {
                is_secret = SECRETS.contains(&string) && value.trim_ascii_start().starts_with(b"\"")
            }
            None if is_secret && !string.is_empty() => return true,
            None => is_secret = false,
        }
        json = after;
    }
    false
}
