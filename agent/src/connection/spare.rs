//! Buffers of connections that are decided, for those that begin: a handshake fills two of them within milliseconds, and to
//! get them from the allocator each time costs more than to fill them.

use super::reading::Reading;

/// Buffers kept: those of a hundred handshakes at a time.
const MAX_BUFFERS: usize = 256;
/// Largest one that is kept (bytes): what most handshakes need of a direction.
const MAX_CAPACITY: usize = 8 * 1024;

/// At most 2 MiB.
#[derive(Debug, Default)]
pub(super) struct Spare(Vec<Vec<u8>>);

impl Spare {
    /// An empty buffer, without room if there is none to spare.
    pub fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// Takes the buffers of a reading that takes no further segment.
    pub fn take_back(&mut self, reading: &mut Reading) {
        for buffer in reading.forget_read() {
            if (1..=MAX_CAPACITY).contains(&buffer.capacity()) && self.0.len() < MAX_BUFFERS {
                self.0.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Role, Segment, SegmentOwner, SocketCookie, Timestamp, Travel, Withheld};

    fn reading(spare: &mut Spare, bytes: &[u8]) -> Reading {
        let mut reading = Reading::from_start((0, 0), [spare.take(), spare.take()], u32::MAX);
        let segment = Segment {
            at: Timestamp(0),
            owner: SegmentOwner::Socket(SocketCookie(1)),
            travel: Travel::Sent,
            sequence: 0,
            acknowledged: 0,
            withheld: 0,
            withheld_for: Withheld::Cut,
            interface: 0,
            bytes,
        };
        reading.take(Role::Client, segment);
        reading
    }

    #[test]
    fn a_buffer_that_is_used_again_knows_nothing_of_its_past_and_what_is_kept_is_bounded() {
        let mut spare = Spare::default();
        let mut first = reading(&mut spare, b"of one connection");
        spare.take_back(&mut first);
        assert_eq!(spare.0.len(), 1);
        let mut next = reading(&mut spare, b"of another");
        assert!(spare.0.is_empty() && !next.is_conflicting());
        spare.take_back(&mut next);
        let mut many: Vec<Reading> = (0..2 * MAX_BUFFERS).map(|_| reading(&mut spare, b"x")).collect();
        many.iter_mut().for_each(|reading| spare.take_back(reading));
        assert_eq!(spare.0.len(), MAX_BUFFERS);
        let mut large = reading(&mut Spare::default(), &[b'x'; MAX_CAPACITY + 1]);
        let mut none = Spare::default();
        none.take_back(&mut large);
        assert!(none.0.is_empty());
    }
}
