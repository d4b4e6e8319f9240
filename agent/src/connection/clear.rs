//! What is held of a connection that does not begin with TLS: for the name of its protocol, a credential in clear, and the
//! switch to TLS that some make. Of HTTP/1 only the heads of its messages are held, and only as long as they are not whole.

use memchr::memchr_iter;

use crate::cleartext::{self, Dialogue, Examination, Exchange, LOOK, MAX_HEAD, Name, Protocol};
use crate::tls::Direction;

/// Bytes held of each direction: what is looked at, and what may follow a switch before the other direction shows it (a
/// ClientHello and its records).
const HELD: usize = LOOK + 28 * 1024;
/// Bytes that come in runs smaller than this are looked at together, unless a line ends or the other side speaks: a peer
/// that sends single bytes must not cost a look at all of them each time.
const RUN: usize = 64;
const _: () = assert!(MAX_HEAD < HELD, "a head that is too long is given up before there is no room for it");

/// The first bytes of both directions, or those that are still to be read of them.
#[derive(Debug)]
pub struct Clear {
    client: Held,
    server: Held,
    /// HTTP/1: what is done with is let go, and bodies are stepped over.
    exchange: Option<Box<Exchange>>,
    /// Bytes that were there at the last look.
    looked: u64,
    last: Direction,
    examination: Examination,
}

/// Bytes of a direction, with what their sender had acknowledged.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Bytes before them.
    passed: u64,
    /// Where runs begin, counted from the start, and the acknowledgement that came with each.
    runs: Vec<(u64, u64)>,
    overflowed: bool,
}

impl Default for Clear {
    fn default() -> Self {
        Clear {
            client: Held::default(),
            server: Held::default(),
            exchange: None,
            looked: 0,
            last: Direction::Client,
            examination: Examination { name: Name::Incomplete, dialogue: Dialogue::default() },
        }
    }
}

impl Clear {
    /// Keeps bytes, but for those that need not be seen. `acknowledged` counts as in [`crate::tls::Conversation::push`].
    pub fn hold(&mut self, direction: Direction, bytes: &[u8], acknowledged: u64) {
        let turned = self.last != direction;
        self.last = direction;
        let stepped = self.skippable(direction).min(bytes.len() as u64);
        self.skip(direction, stepped);
        let bytes = bytes.get(stepped as usize..).unwrap_or_default();
        self.held_mut(direction).hold(bytes, acknowledged);
        let run = self.client.end() + self.server.end() - self.looked;
        if turned || bytes.ends_with(b"\n") || bytes.len().max(run as usize) >= RUN {
            self.look();
        }
    }

    /// Bytes that come next in a direction and need not be seen: of a body.
    pub fn skippable(&self, direction: Direction) -> u64 {
        self.exchange.as_ref().map_or(0, |exchange| exchange.skippable(direction))
    }

    /// Passes over up to [`Clear::skippable`] bytes.
    pub fn skip(&mut self, direction: Direction, count: u64) {
        let Some(exchange) = &mut self.exchange else { return };
        exchange.skip(direction, count);
        let position = exchange.position(direction);
        let held = self.held_mut(direction);
        if count > 0 && held.bytes.is_empty() {
            let passed = position.saturating_sub(held.passed);
            held.let_go(0);
            held.passed += passed;
            self.looked += passed;
        }
    }

    /// Looks at everything that is there.
    pub fn look(&mut self) {
        let ends = self.client.end() + self.server.end();
        if ends == self.looked {
            return;
        }
        self.looked = ends;
        if self.exchange.is_none() {
            self.examination = cleartext::examine(&self.client.bytes, &self.server.bytes);
            if self.examination.name == Name::Found(Protocol::Http1) {
                self.exchange = Some(Box::default());
            }
        }
        if let Some(exchange) = &mut self.exchange {
            let (client, server) = exchange.follow(&self.client.bytes, &self.server.bytes);
            self.client.let_go(client);
            self.server.let_go(server);
            self.examination.dialogue = exchange.dialogue();
        }
    }

    /// The server's further bytes will not be at hand: whether that leaves something to read. Only HTTP's requests are
    /// understood without their answers.
    pub fn lose_answers(&mut self) -> bool {
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| !exchange.waits()) else {
            return false;
        };
        exchange.lose_answers();
        self.look();
        self.server.let_go(self.server.bytes.len());
        true
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        let of = |held: &Held| held.bytes.capacity() + held.runs.capacity() * size_of::<(u64, u64)>();
        let exchange = self.exchange.as_ref().map_or(0, |exchange| exchange.held());
        size_of::<Self>() + of(&self.client) + of(&self.server) + exchange
    }

    /// What they are, as of the last look.
    pub fn examination(&self) -> Examination {
        self.examination
    }

    /// Bytes of client and server that were looked at, or stepped over: at most [`LOOK`] each, but for HTTP/1.
    pub fn examined(&self) -> (u64, u64) {
        let of = |direction: Direction, held: &Held| match &self.exchange {
            Some(exchange) if exchange.is_lost(direction) => exchange.position(direction),
            Some(_) => held.end(),
            None => held.end().min(LOOK as u64),
        };
        (of(Direction::Client, &self.client), of(Direction::Server, &self.server))
    }

    /// Whether there is no more to look at, of a client whose next bytes are delivered up to `reach`, if that is known. Where a
    /// switch may still come (`waits`) its word is awaited, whatever the server says.
    pub fn is_exhausted(&self, reach: Option<u64>, waits: bool) -> bool {
        if let Some(exchange) = &self.exchange {
            let next = self.client.end().saturating_add(exchange.skippable(Direction::Client));
            return exchange.is_stuck() || self.client.overflowed || reach.is_some_and(|reach| next >= reach);
        }
        let (client, server) = self.examined();
        client == LOOK as u64 || (server == LOOK as u64 && !waits)
    }

    /// Its messages are followed from head to head.
    pub fn is_followed(&self) -> bool {
        self.exchange.is_some()
    }

    /// Both sides have sent something.
    pub fn is_answered(&self) -> bool {
        self.client.end() > 0 && self.server.end() > 0
    }

    /// The client asks an HTTP proxy for a tunnel (RFC 9110 section 9.3.6).
    pub fn is_tunnel(&self) -> bool {
        match &self.exchange {
            Some(exchange) => exchange.is_tunnel(),
            None => self.client.bytes.starts_with(b"CONNECT "),
        }
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
        let place = |offset: u64| usize::try_from(offset.saturating_sub(held.passed)).unwrap_or(usize::MAX);
        for (index, &(begin, acknowledged)) in held.runs.iter().enumerate() {
            let end = held.runs.get(index + 1).map_or(held.end(), |(next, _)| *next);
            if let Some(bytes) = held.bytes.get(place(begin.max(from as u64))..place(end))
                && !bytes.is_empty()
            {
                each(bytes, acknowledged);
            }
        }
        !held.overflowed
    }

    fn held_mut(&mut self, direction: Direction) -> &mut Held {
        match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        }
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
            self.runs.push((self.end(), acknowledged));
        }
        self.bytes.extend_from_slice(&bytes[..kept]);
    }

    /// Bytes from the start up to the last that is held.
    fn end(&self) -> u64 {
        self.passed + self.bytes.len() as u64
    }

    /// The first `count` bytes are done with.
    fn let_go(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
        self.passed += count as u64;
        if self.bytes.is_empty() {
            return self.runs.clear();
        }
        let done = self.runs.iter().skip(1).take_while(|(begin, _)| *begin <= self.passed).count();
        self.runs.drain(..done);
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
        assert_eq!(clear.examined(), (0, LOOK as u64));
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
        assert_eq!(clear.examination().name, Name::Found(Protocol::Ssh));
    }
}
