//! Real handshakes, replayed whole, in pieces, interleaved and damaged.

use super::*;

mod conversations;
mod damage;
mod geometry;
mod made;
mod offers;
mod raw_keys;
mod versions;

/// What one peer sent at a time, and what it had of the other.
#[derive(Clone)]
struct Chunk {
    direction: Direction,
    acknowledged: u64,
    bytes: Vec<u8>,
}

macro_rules! fixtures {
    ($($name:literal),+ $(,)?) => {
        /// Handshakes between real peers, recorded for this project; the first line of each says how.
        const FIXTURES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../fixtures/", $name, ".hex")))),+];
    };
}

fixtures!(
    "12_dhe_rsa",
    "12_mutual",
    "12_mutual_rsa",
    "12_none_sent",
    "12_psk",
    "12_refused_by_client",
    "12_required_none_sent",
    "12_resumed",
    "12_resumed_id",
    "12_server_only",
    "13_early",
    "13_mutual",
    "13_mutual_rsa",
    "13_none_sent",
    "13_padded",
    "13_psk",
    "13_refused_by_client",
    "13_required_none_sent",
    "13_resumed",
    "13_retry",
    "13_retry_mutual",
    "13_server_only",
    "13_sha256_mutual",
    "13_version_refused",
);

fn load(name: &str) -> Vec<Chunk> {
    let (_, text) = FIXTURES.iter().find(|(known, _)| *known == name).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_ascii_whitespace();
            let direction = if words.next() == Some("C") { Direction::Client } else { Direction::Server };
            let acknowledged = words.next().unwrap().parse().unwrap();
            let hex = words.next().unwrap().as_bytes();
            let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap()).unwrap();
            let bytes = hex.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
            Chunk { direction, acknowledged, bytes }
        })
        .collect()
}

fn replay(chunks: &[Chunk]) -> Conversation {
    let mut conversation = Conversation::new();
    for chunk in chunks {
        conversation.push(chunk.direction, &chunk.bytes, chunk.acknowledged);
    }
    conversation
}

/// Facts at the end of the connection.
fn facts(chunks: &[Chunk]) -> TlsFacts {
    let mut conversation = replay(chunks);
    conversation.closed(true);
    assert_eq!(conversation.outlook(), Outlook::Decided);
    conversation.into_facts().unwrap()
}
