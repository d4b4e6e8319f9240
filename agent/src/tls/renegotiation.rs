//! What is looked for in a TLS ≤ 1.2 connection after its verdict: whether another handshake begins inside it
//! (RFC 5246 section 7.4.1.1). Its messages are encrypted, so a client authenticated by them cannot be told.
//!
//! Enters: what follows the bytes that a [`Conversation`](super::Conversation) has read. Leaves: whether a second
//! handshake was seen. Keeps a few bytes per direction, none of the content.

use super::Direction;
use super::stream::{CHANGE_CIPHER_SPEC, HANDSHAKE, HEADER, HEARTBEAT, MAX_RECORD};

/// Both directions of a connection whose first handshake is complete.
#[derive(Debug)]
pub struct RenegotiationWatch {
    pub(super) client: Records,
    pub(super) server: Records,
}

/// Encrypted records of one direction, by their headers.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub header: [u8; HEADER],
    /// Bytes of the header that are here; fewer than [`HEADER`].
    pub filled: u8,
    /// Bytes of the record's body that are still to come.
    pub remaining: u16,
    /// Nothing further can be read.
    pub over: bool,
    /// A handshake record was among them.
    pub found: bool,
}

impl RenegotiationWatch {
    /// In-order bytes of one direction.
    pub fn push(&mut self, direction: Direction, bytes: &[u8]) {
        self.side_mut(direction).push(bytes);
    }

    /// Bytes at the head of `direction` that are the rest of a record: they may be passed over.
    pub fn skippable(&self, direction: Direction) -> u64 {
        u64::from(self.side(direction).remaining)
    }

    /// Passes over up to [`RenegotiationWatch::skippable`] bytes that were not seen.
    pub fn skip(&mut self, direction: Direction, count: u64) {
        let side = self.side_mut(direction);
        side.remaining -= u16::try_from(count).map_or(side.remaining, |count| count.min(side.remaining));
    }

    /// Nothing further of this direction will be seen.
    pub fn broken(&mut self, direction: Direction) {
        self.side_mut(direction).over = true;
    }

    /// Another handshake began: the server asked for one, or the client did.
    pub fn has_seen_one(&self) -> bool {
        self.client.found || self.server.found
    }

    /// Neither direction can show one any more.
    pub fn is_over(&self) -> bool {
        self.client.over && self.server.over
    }

    fn side(&self, direction: Direction) -> &Records {
        match direction {
            Direction::Client => &self.client,
            Direction::Server => &self.server,
        }
    }

    fn side_mut(&mut self, direction: Direction) -> &mut Records {
        match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        }
    }
}

impl Records {
    fn push(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first()
            && !self.over
        {
            let taken = if self.remaining > 0 {
                let count = bytes.len().min(usize::from(self.remaining));
                // At most `remaining`.
                self.remaining -= count as u16;
                count
            } else {
                self.take_header_byte(first);
                1
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    fn take_header_byte(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(usize::from(self.filled)) {
            *place = byte;
        }
        self.filled += 1;
        if usize::from(self.filled) < HEADER {
            return;
        }
        self.filled = 0;
        let [content, major, minor, high, low] = self.header;
        let length = u16::from_be_bytes([high, low]);
        let is_record = (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&content)
            && major == 3
            && minor <= 4
            && (1..=MAX_RECORD).contains(&length);
        if is_record {
            self.found |= content == HANDSHAKE;
            self.remaining = length;
        } else {
            self.over = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> RenegotiationWatch {
        RenegotiationWatch { client: Records::default(), server: Records::default() }
    }

    fn record(content: u8, length: u8) -> Vec<u8> {
        [&[content, 3, 3, 0, length], &vec![22; usize::from(length)][..]].concat()
    }

    #[test]
    fn a_second_handshake_is_found_however_the_bytes_are_cut_and_data_is_not_one() {
        let data = [record(23, 200), record(21, 26), record(24, 30)].concat();
        let begins = [data.clone(), record(22, 40)].concat();
        for size in 1..begins.len() {
            for direction in [Direction::Client, Direction::Server] {
                let mut watch = watch();
                for piece in data.chunks(size) {
                    watch.push(direction, piece);
                }
                assert!(!watch.has_seen_one(), "pieces of {size}");
                let mut watch = self::watch();
                for piece in begins.chunks(size) {
                    watch.push(direction, piece);
                }
                assert!(watch.has_seen_one() && !watch.is_over(), "pieces of {size}");
            }
        }
    }

    #[test]
    fn a_lost_body_hides_nothing_and_what_is_no_record_ends_the_watch() {
        let mut watch = watch();
        watch.push(Direction::Client, &record(23, 200)[..20]);
        assert_eq!(watch.skippable(Direction::Client), 185);
        watch.skip(Direction::Client, u64::MAX);
        watch.push(Direction::Client, &record(22, 40));
        assert!(watch.has_seen_one());
        for first in 0..=255 {
            for second in [0, 3, 22] {
                let mut watch = self::watch();
                watch.push(Direction::Server, &[first, second, 3, 0xff, 0xff, 22, 3, 3, 0, 40]);
                assert!(!watch.has_seen_one() && watch.server.over);
            }
        }
        watch.broken(Direction::Client);
        watch.broken(Direction::Server);
        assert!(watch.is_over());
    }
}
