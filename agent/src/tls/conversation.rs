//! One TCP connection: TLS, not TLS, or not yet known.

use super::flights::{Flights, flights};
use super::handshake::Handshake;
use super::message::kind;
use super::ssl2;
use super::stream::{ALERT, HANDSHAKE};
use super::{HandshakeState, IncompleteReason, RenegotiationWatch, TlsFacts, Version};

/// Bytes of each direction that are looked at of a connection that is not TLS: enough for the first line of any
/// protocol that is named.
pub const PEEK: usize = 256;
/// Bytes that tell a hello: record header and message type.
const HELLO_PREFIX: usize = 6;

/// Bytes of an alert in clear, with its header.
const ALERT_RECORD: usize = 7;

/// Who sent the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading<'a> {
    /// No bytes, or too few.
    Undetermined,
    /// TLS, with the facts so far, but for history and alerts: see [`Conversation::facts`].
    Tls(&'a TlsFacts),
    /// Certainly not TLS; see [`Conversation::cleartext`].
    NotTls,
}

/// Whether more bytes are of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// They are. Counted from the start of each direction, so many are needed at least, so far as known.
    Undecided {
        /// Sent by the client.
        wanted_client: u32,
        /// Sent by the server.
        wanted_server: u32,
    },
    /// No further byte is wanted: the facts are final, but for a renegotiation, which bytes that come anyway can show
    /// (see [`Conversation::renegotiation_watch`]).
    Decided,
}

/// The state of one TCP connection.
#[derive(Debug, Default)]
pub struct Conversation {
    handshake: Option<Box<Handshake>>,
    not_tls: bool,
    client: Opening,
    server: Opening,
    closed: Option<bool>,
}

/// The first bytes of a direction, until it is known what they are.
#[derive(Debug, Default)]
struct Opening {
    prefix: Vec<u8>,
    /// Acknowledged when the first of them was sent.
    acknowledged: u64,
    /// More came than the prefix holds.
    overflowed: bool,
    broken: Option<IncompleteReason>,
}

/// What the first bytes of a direction are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Empty,
    Incomplete,
    Hello,
    Alert,
    Other,
}

impl Conversation {
    /// A connection of which nothing was seen.
    pub fn new() -> Self {
        Conversation::default()
    }

    /// In-order bytes of one direction. `acknowledged`: how many payload bytes of the *other* direction the sender
    /// had received when it sent these (the ACK number of the segment that carried them, counted from the start).
    pub fn push(&mut self, direction: Direction, bytes: &[u8], acknowledged: u64) {
        if let Some(handshake) = &mut self.handshake {
            handshake.push(direction, bytes, acknowledged);
            return;
        }
        if self.opening_mut(direction).broken.is_some() || bytes.is_empty() {
            return;
        }
        if self.begins_with_hello(bytes) {
            self.begin_handshake().push(direction, bytes, acknowledged);
            return;
        }
        let opening = self.opening_mut(direction);
        // The bytes need not fit into the prefix if they show at once that this is TLS.
        let kept = opening.append(bytes, acknowledged);
        self.determine();
        if let Some(handshake) = &mut self.handshake {
            handshake.push(direction, &bytes[kept..], acknowledged);
        } else if kept < bytes.len() {
            self.opening_mut(direction).overflowed = true;
        }
    }

    /// Bytes at the head of `direction` that will be discarded unread: the rest of an encrypted record.
    pub fn skippable(&self, direction: Direction) -> u64 {
        self.handshake.as_ref().map_or(0, |handshake| handshake.stream(direction).skippable())
    }

    /// Passes over up to [`Conversation::skippable`] bytes that were not seen: lost or withheld ones do no harm there.
    pub fn skip(&mut self, direction: Direction, count: u64, _acknowledged: u64) {
        if let Some(handshake) = &mut self.handshake {
            handshake.skip(direction, count);
        }
    }

    /// Bytes are missing for good in this direction: nothing behind them can be read.
    pub fn broken(&mut self, direction: Direction, reason: IncompleteReason) {
        match &mut self.handshake {
            Some(handshake) => handshake.set_broken(direction, reason),
            None => {
                self.opening_mut(direction).broken.get_or_insert(reason);
            }
        }
    }

    /// The connection ended in both directions: gracefully (FIN) or not (reset, timeout).
    pub fn closed(&mut self, graceful: bool) {
        self.closed.get_or_insert(graceful);
        match &mut self.handshake {
            Some(handshake) => handshake.close(graceful),
            None => self.not_tls |= !self.client.prefix.is_empty() || self.server.shape() == Shape::Other,
        }
    }

    /// What is known so far.
    pub fn reading(&self) -> Reading<'_> {
        match &self.handshake {
            Some(handshake) => Reading::Tls(&handshake.facts),
            None if self.not_tls => Reading::NotTls,
            None => Reading::Undetermined,
        }
    }

    /// Bytes of memory that it takes beside itself.
    pub fn held(&self) -> usize {
        let handshake = self.handshake.as_ref().map_or(0, |handshake| handshake.held());
        handshake + self.client.prefix.capacity() + self.server.prefix.capacity()
    }

    /// The facts so far, whole; `None` if it is not TLS or not known to be.
    pub fn facts(&self) -> Option<TlsFacts> {
        self.handshake.as_ref().map(|handshake| handshake.facts())
    }

    /// The facts, without the state that led to them; `None` if it is not TLS or not known to be.
    pub fn into_facts(self) -> Option<TlsFacts> {
        self.handshake.map(|handshake| handshake.into_facts())
    }

    /// It is TLS, and was seen from its very beginning.
    pub fn begins_with_client_hello(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.begins_with_client_hello())
    }

    /// Goes on behind what was read, where a renegotiation would make unknown what is known of the client: `None` if
    /// nothing could. TLS 1.3 has none (RFC 8446 section 4.1.2).
    pub fn renegotiation_watch(&self) -> Option<RenegotiationWatch> {
        let handshake = self.handshake.as_ref()?;
        let facts = &handshake.facts;
        let classic = facts.version.is_some_and(|version| !version.is_modern() && version != Version::Ssl2);
        let complete = facts.handshake == HandshakeState::Complete;
        (classic && complete && facts.is_open_to_renegotiation()).then(|| RenegotiationWatch {
            client: handshake.client.records(),
            server: handshake.server.records(),
        })
    }

    /// Whether more bytes are of use.
    pub fn outlook(&self) -> Outlook {
        if let Some(handshake) = &self.handshake {
            if handshake.settled() {
                return Outlook::Decided;
            }
            let wanted = |direction| u32::try_from(handshake.stream(direction).wanted()).unwrap_or(u32::MAX);
            return Outlook::Undecided {
                wanted_client: wanted(Direction::Client),
                wanted_server: wanted(Direction::Server),
            };
        }
        if self.closed.is_some() || (self.client.is_done() && self.server.is_done()) {
            return Outlook::Decided;
        }
        // Bounded by PEEK.
        let wanted = |opening: &Opening| if opening.is_done() { opening.prefix.len() } else { PEEK } as u32;
        Outlook::Undecided { wanted_client: wanted(&self.client), wanted_server: wanted(&self.server) }
    }

    /// Bytes of client and server up to the end of the handshake, as far as it is known; 0 if it is not TLS.
    pub fn handshake_bytes(&self) -> (u64, u64) {
        self.handshake.as_ref().map_or((0, 0), |handshake| handshake.handshake_bytes())
    }

    /// Sizes of the encrypted flights of TLS 1.3 so far; `None` where there are none, or sizes cannot be read.
    pub fn flights(&self) -> Option<Flights> {
        self.handshake.as_deref().and_then(flights)
    }

    /// The first bytes of client and server, at most [`PEEK`] each; empty once the connection is TLS.
    pub fn cleartext(&self) -> (&[u8], &[u8]) {
        (&self.client.prefix, &self.server.prefix)
    }

    fn opening_mut(&mut self, direction: Direction) -> &mut Opening {
        match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        }
    }

    /// A client that does not begin with TLS never does (upgrades apart); one that has not begun is judged by the
    /// server. Either direction may be seen first.
    fn determine(&mut self) {
        let tls = match (self.client.shape(), self.server.shape()) {
            (Shape::Hello, _) => true,
            (Shape::Other, _) => false,
            (Shape::Empty | Shape::Incomplete | Shape::Alert, Shape::Hello) => true,
            (Shape::Empty, Shape::Other) => false,
            _ => return,
        };
        self.not_tls = !tls;
        if tls {
            self.begin_handshake();
        }
    }

    /// Whether these are the very first bytes and show at once that it is TLS, as most do: then nothing of them need be kept.
    fn begins_with_hello(&self, bytes: &[u8]) -> bool {
        let untouched = |opening: &Opening| opening.prefix.is_empty() && opening.broken.is_none();
        let prefix = bytes.get(..PEEK).unwrap_or(bytes);
        untouched(&self.client) && untouched(&self.server) && shape(prefix) == Shape::Hello
    }

    /// It is TLS: goes on from what was kept of it.
    fn begin_handshake(&mut self) -> &mut Handshake {
        let mut handshake = Box::<Handshake>::default();
        for (direction, opening) in [
            (Direction::Client, std::mem::take(&mut self.client)),
            (Direction::Server, std::mem::take(&mut self.server)),
        ] {
            if !opening.prefix.is_empty() {
                handshake.push(direction, &opening.prefix, opening.acknowledged);
            }
            if opening.overflowed {
                handshake.set_broken(direction, IncompleteReason::Truncated);
            }
            if let Some(reason) = opening.broken {
                handshake.set_broken(direction, reason);
            }
        }
        self.handshake.insert(handshake)
    }
}

impl Opening {
    /// Keeps what fits; returns how much that was.
    fn append(&mut self, bytes: &[u8], acknowledged: u64) -> usize {
        if self.prefix.is_empty() {
            self.acknowledged = acknowledged;
        }
        let kept = bytes.len().min(PEEK - self.prefix.len());
        self.prefix.extend_from_slice(&bytes[..kept]);
        kept
    }

    fn is_done(&self) -> bool {
        self.prefix.len() == PEEK || self.broken.is_some()
    }

    /// A server may warn before its hello (RFC 6066 section 3).
    fn shape(&self) -> Shape {
        match shape(&self.prefix) {
            Shape::Alert
                if self.prefix.get(ALERT_RECORD..).is_some_and(|rest| shape(rest) == Shape::Hello) =>
            {
                Shape::Hello
            }
            shape => shape,
        }
    }
}

fn shape(prefix: &[u8]) -> Shape {
    if !prefix.is_empty() {
        match ssl2::is_hello(prefix) {
            Some(true) => return Shape::Hello,
            None => return Shape::Incomplete,
            Some(false) => {}
        }
    }
    // Each byte that is there must fit.
    let fits = |index: usize, test: fn(u8) -> bool| prefix.get(index).is_none_or(|&byte| test(byte));
    let version = fits(1, |major| major == 3) && fits(2, |minor| minor <= 4);
    let first = match prefix.first() {
        None => return Shape::Empty,
        Some(&first) => first,
    };
    let hello = first == HANDSHAKE
        && version
        && fits(3, |high| high <= 0x40)
        && fits(5, |message| matches!(message, kind::CLIENT_HELLO | kind::SERVER_HELLO));
    let alert = first == ALERT && version && fits(3, |high| high == 0) && fits(4, |low| low == 2);
    match (hello, alert) {
        (true, _) if prefix.len() >= HELLO_PREFIX => Shape::Hello,
        (_, true) if prefix.len() >= HELLO_PREFIX - 1 => Shape::Alert,
        (false, false) => Shape::Other,
        _ => Shape::Incomplete,
    }
}
