//! Pieces, orders, cuts and mutations of the recorded handshakes.

use super::super::fuzz::fuzz;
use super::*;

/// xorshift64: the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % bound
    }
}

fn split(chunks: &[Chunk], mut size: impl FnMut() -> usize) -> Vec<Chunk> {
    let mut pieces = Vec::new();
    for chunk in chunks {
        let mut bytes = &chunk.bytes[..];
        while !bytes.is_empty() {
            let (head, tail) = bytes.split_at(size().clamp(1, bytes.len()));
            pieces.push(Chunk { bytes: head.to_vec(), ..*chunk });
            bytes = tail;
        }
    }
    pieces
}

#[test]
fn segments_of_one_byte_give_the_same_facts() {
    for (name, _) in FIXTURES {
        let chunks = load(name);
        assert_eq!(facts(&split(&chunks, || 1)), facts(&chunks), "{name}");
    }
}

#[test]
fn the_order_in_which_directions_are_observed_does_not_matter() {
    let mut random = Random(0x5eed);
    for (name, _) in FIXTURES {
        let chunks = load(name);
        let expected = facts(&chunks);
        for _ in 0..25 {
            let pieces = split(&chunks, || 1 + random.below(700));
            let by = |direction| pieces.iter().filter(move |piece| piece.direction == direction);
            let (mut client, mut server) =
                (by(Direction::Client).peekable(), by(Direction::Server).peekable());
            let mut conversation = Conversation::new();
            while client.peek().is_some() || server.peek().is_some() {
                let next = if random.below(2) == 0 { client.next() } else { server.next() };
                if let Some(piece) = next {
                    conversation.push(piece.direction, &piece.bytes, piece.acknowledged);
                }
            }
            conversation.closed(true);
            assert_eq!(conversation.into_facts().as_ref(), Some(&expected), "{name}");
        }
    }
}

#[test]
fn of_every_prefix_the_facts_only_grow() {
    for (name, _) in FIXTURES {
        let pieces = split(&load(name), || 1);
        let mut conversation = Conversation::new();
        let mut last = TlsFacts::default();
        for piece in &pieces {
            conversation.push(piece.direction, &piece.bytes, piece.acknowledged);
            if let Some(facts) = conversation.facts() {
                assert!(grew(&last, &facts), "{name}: {last:?}\n{facts:?}");
                last = facts;
            }
        }
    }
}

fn grew(before: &TlsFacts, after: &TlsFacts) -> bool {
    let unknown_client = |facts: &TlsFacts| {
        matches!(facts.client_authentication, ClientAuthentication::Unknown(UnknownReason::Incomplete))
    };
    let unknown_server =
        |facts: &TlsFacts| matches!(facts.server_authentication, ServerAuthentication::Unknown(_));
    (unknown_client(before) || before.client_authentication == after.client_authentication)
        && (unknown_server(before) || before.server_authentication == after.server_authentication)
        && (before.client_outcome == ClientOutcome::Unknown || before.client_outcome == after.client_outcome)
        && (before.handshake == HandshakeState::Incomplete || before.handshake == after.handshake)
        && (before.version.is_none() || before.version == after.version)
        && (before.cipher_suite.is_none() || before.cipher_suite == after.cipher_suite)
        && (before.resumption == Resumption::Unknown || before.resumption == after.resumption)
        && (before.session_id.is_none() || before.session_id == after.session_id)
        && after.client_chain.starts_with(&before.client_chain)
        && after.server_chain.starts_with(&before.server_chain)
        && after.alerts.starts_with(&before.alerts)
        && after.history.starts_with(&before.history)
}

#[test]
fn a_conversation_cut_anywhere_claims_no_more_than_the_whole() {
    for (name, _) in FIXTURES {
        let chunks = load(name);
        let whole = facts(&chunks);
        let length: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        for end in 0..length {
            let mut cut = replay(&cut_at(&chunks, end));
            cut.closed(false);
            let Some(facts) = cut.into_facts() else { continue };
            if let ClientAuthentication::Presented(_) = facts.client_authentication {
                assert_eq!(facts.client_authentication, whole.client_authentication, "{name} cut at {end}");
            }
            assert!(
                facts.client_outcome != ClientOutcome::Accepted
                    || facts.client_outcome == whole.client_outcome
            );
        }
    }
}

fn cut_at(chunks: &[Chunk], end: usize) -> Vec<Chunk> {
    let mut left = end;
    let mut cut = Vec::new();
    for chunk in chunks {
        let bytes = chunk.bytes[..left.min(chunk.bytes.len())].to_vec();
        left -= bytes.len();
        cut.push(Chunk { bytes, ..*chunk });
    }
    cut
}

/// The conversation as input of the fuzz body.
fn script(chunks: &[Chunk]) -> Vec<u8> {
    let mut script = Vec::new();
    for piece in split(chunks, || 2040) {
        let count = piece.bytes.len().div_ceil(8);
        script.extend([u8::from(piece.direction == Direction::Server), u8::try_from(count).unwrap()]);
        script.extend(&piece.bytes);
        script.resize(script.len() + count * 8 - piece.bytes.len(), 0);
    }
    script
}

#[test]
fn mutated_conversations_neither_panic_nor_take_a_decision_back() {
    let scripts: Vec<_> = FIXTURES.iter().map(|(name, _)| script(&load(name))).collect();
    let mut random = Random(0xc0ffee);
    for round in 0..20_000 {
        let mut data = scripts[round % scripts.len()].clone();
        // Handshakes come first: most damage goes there.
        let reach = data.len().min(1 << (5 + random.below(9)));
        for _ in 0..=random.below(4) {
            let at = random.below(reach);
            match random.below(4) {
                0 => data[at] = u8::try_from(random.below(256)).unwrap(),
                1 => data[at] ^= 1 << random.below(8),
                2 => data.truncate(at.max(2)),
                _ => drop(data.splice(at..at, [0xff; 3])),
            }
            if data.len() < reach {
                break;
            }
        }
        fuzz(&data);
    }
}

#[test]
fn every_message_cut_short_is_survived() {
    for (name, _) in FIXTURES {
        for chunk in load(name).iter().take(2) {
            for end in 1..chunk.bytes.len() {
                let mut bytes = chunk.bytes[..end].to_vec();
                // The record claims to be whole.
                if let Some(length) = end.checked_sub(5) {
                    let length = u16::try_from(length.min(1 << 14)).unwrap();
                    bytes[3..5].copy_from_slice(&length.to_be_bytes());
                }
                let mut conversation = Conversation::new();
                conversation.push(chunk.direction, &bytes, 0);
                conversation.closed(true);
            }
        }
    }
}
