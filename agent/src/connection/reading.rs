//! The bytes of a connection that is still looked at: two streams that feed one conversation.

use crate::event::{Role, Segment, Travel};
use crate::reassembly::Stream;
use crate::tls::{Conversation, Direction, IncompleteReason, Outlook};

/// Both directions in the making. Exists only until the connection is decided.
#[derive(Debug)]
pub struct Reading {
    client: Stream,
    server: Stream,
    /// What the bytes say.
    pub conversation: Conversation,
    /// Payload bytes of each direction that the source was told to deliver.
    pub granted: u32,
    /// Why bytes are missing, the first reason.
    pub incomplete: Option<IncompleteReason>,
}

impl Reading {
    /// A connection seen from its first byte.
    pub fn from_start(client_sequence: u32, server_sequence: u32, granted: u32) -> Self {
        Reading {
            client: Stream::starting_at(client_sequence),
            server: Stream::starting_at(server_sequence),
            conversation: Conversation::new(),
            granted,
            incomplete: None,
        }
    }

    /// Takes a segment seen by the socket of `role`.
    pub fn take(&mut self, role: Role, segment: &Segment) {
        let direction = sender(role, segment.travel);
        let (stream, opposite) = match direction {
            Direction::Client => (&mut self.client, &self.server),
            Direction::Server => (&mut self.server, &self.client),
        };
        let acknowledged = opposite.offset_of(segment.acknowledged);
        let end = segment.sequence.wrapping_add(segment.bytes.len() as u32);
        if !segment.bytes.is_empty() {
            stream.insert(segment.sequence, segment.bytes.clone(), acknowledged);
        }
        if segment.withheld > 0 {
            stream.withhold(end, segment.withheld);
        }
        self.advance(direction, acknowledged);
    }

    /// Reads on as far as the bytes reach, passing over holes where nobody needs the bytes.
    fn advance(&mut self, direction: Direction, acknowledged: u64) {
        let stream = match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        };
        loop {
            if let Some(chunk) = stream.read() {
                self.conversation.push(direction, &chunk.bytes, chunk.acknowledged);
                continue;
            }
            let passable = stream.missing().min(self.conversation.skippable(direction));
            if passable > 0 {
                stream.skip(passable);
                self.conversation.skip(direction, passable, acknowledged);
                continue;
            }
            if stream.is_withheld() {
                self.incomplete.get_or_insert(IncompleteReason::Budget);
                self.conversation.broken(direction, IncompleteReason::Budget);
            }
            return;
        }
    }

    /// No more bytes will fill the holes there are.
    pub fn give_up_holes(&mut self, reason: IncompleteReason) {
        for direction in [Direction::Client, Direction::Server] {
            let stream = match direction {
                Direction::Client => &self.client,
                Direction::Server => &self.server,
            };
            if stream.missing() > 0 {
                self.incomplete.get_or_insert(reason);
                self.conversation.broken(direction, reason);
            }
        }
    }

    /// Whether copies of the same bytes differed: nothing that was read can be believed.
    pub fn is_conflicting(&self) -> bool {
        self.client.is_conflicting() || self.server.is_conflicting()
    }

    /// Payload bytes of each direction that were read in order.
    pub fn read(&self) -> (u64, u64) {
        (self.client.position(), self.server.position())
    }

    /// Whether nothing further can change what is known.
    pub fn is_decided(&self) -> bool {
        matches!(self.conversation.outlook(), Outlook::Decided)
    }
}

/// Who sent the bytes that the socket of `role` saw travel this way.
fn sender(role: Role, travel: Travel) -> Direction {
    match (role, travel) {
        (Role::Client, Travel::Sent) | (Role::Server, Travel::Received) => Direction::Client,
        (Role::Client, Travel::Received) | (Role::Server, Travel::Sent) => Direction::Server,
    }
}
