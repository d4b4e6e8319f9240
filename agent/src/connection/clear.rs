//! What is held of a connection that does not begin with TLS: for the name of its protocol, a credential in clear, and the
//! switch to TLS that some make.

use memchr::memchr_iter;

use crate::cleartext::{self, Dialogue, Examination, LOOK, Name};
use crate::tls::Direction;

/// Bytes held of each direction: what is looked at, and what may follow a switch before the other direction shows it (a
/// ClientHello and its records).
const HELD: usize = LOOK + 28 * 1024;
/// Bytes that come in runs smaller than this are looked at together, unless a line ends or the other side speaks: a peer
/// that sends single bytes must not cost a look at all of them each time.
const RUN: usize = 64;

/// The first bytes of both directions.
#[derive(Debug)]
pub struct Clear {
    client: Held,
    server: Held,
    /// Bytes that were there at the last look.
    looked: usize,
    last: Direction,
    examination: Examination,
}

/// The first bytes of a direction, with what their sender had acknowledged.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Where runs begin, and the acknowledgement that came with each.
    runs: Vec<(usize, u64)>,
    overflowed: bool,
}

impl Default for Clear {
    fn default() -> Self {
        Clear {
            client: Held::default(),
            server: Held::default(),
            looked: 0,
            last: Direction::Client,
            examination: Examination { name: Name::Incomplete, dialogue: Dialogue::default() },
        }
    }
}

impl Clear {
    /// Keeps bytes. `acknowledged` counts as in [`crate::tls::Conversation::push`].
    pub fn hold(&mut self, direction: Direction, bytes: &[u8], acknowledged: u64) {
        let turned = self.last != direction;
        self.last = direction;
        let held = match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        };
        held.hold(bytes, acknowledged);
        let lengths = self.client.bytes.len() + self.server.bytes.len();
        if turned || bytes.ends_with(b"\n") || bytes.len() >= RUN || lengths >= self.looked + RUN {
            self.look();
        }
    }

    /// Looks at everything that is there.
    pub fn look(&mut self) {
        let lengths = self.client.bytes.len() + self.server.bytes.len();
        if lengths != self.looked {
            self.looked = lengths;
            self.examination = cleartext::examine(&self.client.bytes, &self.server.bytes);
        }
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        let of = |held: &Held| held.bytes.capacity() + held.runs.capacity() * size_of::<(usize, u64)>();
        size_of::<Self>() + of(&self.client) + of(&self.server)
    }

    /// What they are, as of the last look.
    pub fn examination(&self) -> Examination {
        self.examination
    }

    /// Bytes of client and server that were looked at, at most [`LOOK`] each.
    pub fn examined(&self) -> (usize, usize) {
        (self.client.bytes.len().min(LOOK), self.server.bytes.len().min(LOOK))
    }

    /// Both sides have sent something.
    pub fn is_answered(&self) -> bool {
        !self.client.bytes.is_empty() && !self.server.bytes.is_empty()
    }

    /// The client asks an HTTP proxy for a tunnel (RFC 9110 section 9.3.6).
    pub fn is_tunnel(&self) -> bool {
        self.client.bytes.starts_with(b"CONNECT ")
    }

    /// Somewhere behind the beginning stands what only TLS begins with: there was a switch, whoever agreed to it.
    pub fn holds_a_hello(&self) -> bool {
        holds(&self.client.bytes, 1) || holds(&self.server.bytes, 2)
    }

    /// Gives back what was held of a direction behind its first `from` bytes, in runs with their acknowledgements; `false` if
    /// some of it was not kept.
    pub fn release(&self, direction: Direction, from: usize, mut each: impl FnMut(&[u8], u64)) -> bool {
        let held = match direction {
            Direction::Client => &self.client,
            Direction::Server => &self.server,
        };
        for (index, &(begin, acknowledged)) in held.runs.iter().enumerate() {
            let end = held.runs.get(index + 1).map_or(held.bytes.len(), |(next, _)| *next);
            if let Some(bytes) = held.bytes.get(begin.max(from)..end)
                && !bytes.is_empty()
            {
                each(bytes, acknowledged);
            }
        }
        !held.overflowed
    }
}

impl Held {
    fn hold(&mut self, bytes: &[u8], acknowledged: u64) {
        let kept = bytes.len().min(HELD - self.bytes.len());
        self.overflowed |= kept < bytes.len();
        if kept == 0 {
            return;
        }
        if self.runs.last().is_none_or(|(_, last)| *last != acknowledged) {
            self.runs.push((self.bytes.len(), acknowledged));
        }
        self.bytes.extend_from_slice(&bytes[..kept]);
    }
}

/// Whether a record with a hello of this type begins in the bytes: content type, version, length, type, length.
fn holds(bytes: &[u8], hello: u8) -> bool {
    memchr_iter(0x16, bytes).filter_map(|at| bytes[at..].first_chunk()).any(
        |&[_, major, minor, high, _, kind, length]| {
            major == 3 && minor <= 4 && high <= 0x40 && [kind, length] == [hello, 0]
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_switch_keeps_its_acknowledgements() {
        let mut clear = Clear::default();
        clear.hold(Direction::Client, b"STARTTLS\r\nhello", 3);
        clear.hold(Direction::Client, b" more", 9);
        let mut runs = Vec::new();
        assert!(clear.release(Direction::Client, 10, |bytes, acknowledged| {
            runs.push((bytes.to_vec(), acknowledged));
        }));
        assert_eq!(runs, [(b"hello".to_vec(), 3), (b" more".to_vec(), 9)]);
        assert!(clear.release(Direction::Server, 0, |_, _| panic!("nothing was sent")));
    }

    #[test]
    fn no_more_is_held_than_the_bound_and_that_is_said() {
        let mut clear = Clear::default();
        clear.hold(Direction::Server, &vec![b'x'; HELD + 1], 0);
        assert_eq!(clear.examined(), (0, LOOK));
        assert!(!clear.release(Direction::Server, 0, |bytes, _| assert_eq!(bytes.len(), HELD)));
    }

    #[test]
    fn single_bytes_are_looked_at_when_a_line_ends_or_the_other_side_speaks() {
        let mut clear = Clear::default();
        for byte in b"SSH-2.0-x\r" {
            clear.hold(Direction::Client, &[*byte], 0);
        }
        assert_eq!(clear.examination().name, Name::Incomplete);
        clear.hold(Direction::Client, b"\n", 0);
        assert_eq!(clear.examination().name, Name::Found(cleartext::Protocol::Ssh));
    }
}
