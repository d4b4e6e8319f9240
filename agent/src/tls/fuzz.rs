//! Fuzz body: any bytes as a conversation of two directions.

use super::{Conversation, Direction, IncompleteReason, MAX_ALERTS, MAX_HISTORY, Outlook};

/// Each operation is a byte for what, one for how much, then the bytes themselves. Whatever comes: no panic, bounded
/// facts, and what is decided stays decided.
pub fn fuzz(data: &[u8]) {
    let mut conversation = Conversation::new();
    let mut sent = [0_u64; 2];
    let mut rest = data;
    let mut decided = false;
    while let Some((&[what, count], after)) = rest.split_first_chunk::<2>() {
        let (bytes, after) = after.split_at(after.len().min(usize::from(count) << 3));
        rest = after;
        let side = usize::from(what & 1);
        let direction = [Direction::Client, Direction::Server][side];
        match what >> 1 & 0x3f {
            0x3f => conversation.broken(direction, IncompleteReason::Lost),
            0x3e => conversation.closed(what & 1 == 0),
            0x3d => conversation.skip(direction, u64::from(count), sent[1 - side]),
            _ => {
                conversation.push(direction, bytes, sent[1 - side]);
                sent[side] += bytes.len() as u64;
            }
        }
        if let Some(facts) = conversation.facts() {
            assert!(facts.history.len() <= MAX_HISTORY && facts.alerts.len() <= MAX_ALERTS);
        }
        let now = conversation.outlook() == Outlook::Decided;
        assert!(now || !decided, "a decision was taken back");
        decided = now;
    }
}
