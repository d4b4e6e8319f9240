//! A connection of a capture after its verdict, as long as a renegotiation could still take it back.
//!
//! Enters: the segments that come after the verdict. Leaves: whether a second handshake began. A capture is read for
//! what it holds: its bytes lie there. On a host every further byte would have to be copied, so a connection
//! that is decided is not read any further, and what happens in it later is not seen.

use super::reading::sender;
use crate::event::{Role, Segment};
use crate::reassembly::{Inserted, Stream};
use crate::tls::{Direction, RenegotiationWatch};

/// Both directions, without what was read of them.
#[derive(Debug)]
pub struct Watched {
    client: Stream,
    server: Stream,
    watch: RenegotiationWatch,
}

impl Watched {
    /// Goes on where the streams stand, which need not know what was read of them.
    pub fn new(client: Stream, server: Stream, watch: RenegotiationWatch) -> Self {
        Watched { client, server, watch }
    }

    /// Takes a segment seen by the socket of `role`.
    pub fn take(&mut self, role: Role, segment: Segment<&[u8]>) {
        let direction = sender(role, segment.travel);
        let stream = match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        };
        let end = segment.sequence.wrapping_add(segment.bytes.len() as u32);
        if !segment.bytes.is_empty()
            && let Inserted::Next(bytes) = stream.insert(segment.sequence, segment.bytes, 0)
        {
            self.watch.push(direction, bytes);
        }
        if segment.withheld > 0 {
            stream.withhold(end, segment.withheld, segment.withheld_for);
        }
        loop {
            if let Some(chunk) = stream.read() {
                self.watch.push(direction, &chunk.bytes);
                continue;
            }
            let passable = stream.missing().min(self.watch.skippable(direction));
            if passable == 0 {
                break;
            }
            stream.skip(passable);
            self.watch.skip(direction, passable);
        }
        if stream.withheld_for().is_some() {
            self.watch.broken(direction);
        }
    }

    /// No more bytes will fill the holes there are.
    pub fn give_up_holes(&mut self) {
        for (direction, stream) in [(Direction::Client, &self.client), (Direction::Server, &self.server)] {
            if stream.missing() > 0 {
                self.watch.broken(direction);
            }
        }
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.client.held() + self.server.held()
    }

    /// Another handshake began.
    pub fn is_renegotiated(&self) -> bool {
        self.watch.has_seen_one()
    }

    /// Nothing further can show one.
    pub fn is_over(&self) -> bool {
        self.watch.is_over()
    }
}
