//! Messages of HTTP/1 as they follow each other on one connection (RFC 9112): heads are read, bodies are stepped over.
//!
//! Enters: what is at hand of both directions, from where the last call stood. Leaves: how much of it is done with, how much
//! that comes need not be seen, and what was said. Refuses: keeping bytes.
//!
//! ```text
//!  client  |head|..body..|head|head|     who asks for a tunnel or another protocol is read on when that was answered
//!  server  |1xx|head|.....body.....|head|     a final answer belongs to the oldest request that has none
//! ```

use std::collections::VecDeque;

use memchr::memchr;

use super::head::{Body, Head};
use super::text::{begins_ignoring_case, word};
use super::{Dialogue, MAX_HEAD, Switch, Upgrade};
use crate::tls::Direction;

/// Requests that wait for their answers at a time; further ones are not read before. Clients that send several requests at
/// once send a handful.
const MAX_AWAITED: usize = 64;
/// Digits of a chunk's length: any that fits into 64 bits.
const MAX_CHUNK_DIGITS: usize = 16;

/// Both directions, and what they have said.
#[derive(Debug, Default)]
pub struct Exchange {
    client: Messages,
    server: Messages,
    /// Requests without a final answer, the oldest first.
    awaited: VecDeque<Wish>,
    /// The last request asked for what would change everything behind it.
    waits: bool,
    /// There was a CONNECT.
    tunnel: bool,
    dialogue: Dialogue,
}

/// What a request wants, as far as it matters to what its answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Answer,
    /// HEAD: the answer has no body, whatever it says.
    Head,
    /// A tunnel (RFC 9110 section 9.3.6).
    Tunnel,
    /// TLS in place of HTTP (RFC 2817).
    Tls,
    /// Some other protocol in its place.
    Other,
}

/// How far one direction was read.
#[derive(Debug, Default)]
struct Messages {
    /// Bytes from the start.
    at: u64,
    next: Next,
}

/// What comes next in a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Next {
    #[default]
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// The line with the length of a chunk (RFC 9112 section 7.1).
    ChunkLength,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The empty line behind it.
    ChunkEnd,
    /// Fields behind the last chunk, up to an empty line.
    Trailer,
    /// Nothing that can be read: a body up to the end of the connection, or what is no message.
    Nothing,
}

impl Exchange {
    /// Reads on. Both slices begin where the last call stood, and what of them is done with is returned: the next ones begin
    /// behind it.
    pub fn follow(&mut self, client: &[u8], server: &[u8]) -> (usize, usize) {
        let (mut requests, mut answers) = (client, server);
        loop {
            let before = (requests.len(), answers.len());
            while !self.dialogue.over && self.read_request(&mut requests) {}
            while !self.dialogue.over && self.read_answer(&mut answers) {}
            if self.dialogue.over && self.dialogue.switch.is_none() {
                self.client.pass(&mut requests);
                self.server.pass(&mut answers);
            }
            if (requests.len(), answers.len()) == before {
                return (client.len() - requests.len(), server.len() - answers.len());
            }
        }
    }

    /// What was said so far.
    pub fn dialogue(&self) -> Dialogue {
        self.dialogue
    }

    /// There was a CONNECT: what follows may belong to a tunnel.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel
    }

    /// How many bytes that come next in a direction need not be seen. Not 0 only where everything at hand was done with.
    pub fn skippable(&self, direction: Direction) -> u64 {
        match self.messages(direction).next {
            Next::Body(left) | Next::Chunk(left) => left,
            Next::Nothing => u64::MAX,
            Next::Head | Next::ChunkLength | Next::ChunkEnd | Next::Trailer => 0,
        }
    }

    /// Passes over up to [`Exchange::skippable`] bytes.
    pub fn skip(&mut self, direction: Direction, count: u64) {
        match direction {
            Direction::Client => self.client.skip(count),
            Direction::Server => self.server.skip(count),
        }
    }

    /// Bytes of a direction that are done with.
    pub fn position(&self, direction: Direction) -> u64 {
        self.messages(direction).at
    }

    /// Nothing that comes in a direction is read any more.
    pub fn is_lost(&self, direction: Direction) -> bool {
        self.messages(direction).next == Next::Nothing
    }

    /// The server's further bytes are not at hand: which answer belongs to which request is not known any more.
    pub fn lose_answers(&mut self) {
        self.server.next = Next::Nothing;
        self.awaited.clear();
    }

    /// No further request can be read: the last one has no end, or waits for an answer that is lost.
    pub fn is_stuck(&self) -> bool {
        self.is_lost(Direction::Client) || (self.waits && self.is_lost(Direction::Server))
    }

    /// What the client asked for is to be answered before it is read on.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.awaited.capacity() * size_of::<Wish>()
    }

    fn messages(&self, direction: Direction) -> &Messages {
        match direction {
            Direction::Client => &self.client,
            Direction::Server => &self.server,
        }
    }

    /// Reads up to the end of the next request's head; `false` if it is not there, or not to be read yet.
    fn read_request(&mut self, bytes: &mut &[u8]) -> bool {
        if self.waits || self.awaited.len() == MAX_AWAITED || !self.client.pass(bytes) {
            return false;
        }
        let Some(request) = Head::read(bytes, 0) else { return self.client.give_up_if_long(bytes) };
        // Behind a body without a length, or an upgrade that was not seen, come no requests.
        let (method, rest) = word(request.start());
        if !rest.windows(7).any(|window| window == b"HTTP/1.") {
            self.dialogue.over = true;
            return false;
        }
        self.tunnel |= method == b"CONNECT";
        self.dialogue.note(request.credential());
        let Some(end) = request.end() else { return self.client.give_up_if_long(bytes) };
        let wish = wish(method, &request);
        self.waits = !matches!(wish, Wish::Answer | Wish::Head);
        self.dialogue.asked = matches!(wish, Wish::Tunnel | Wish::Tls);
        // Nothing that follows is of interest.
        if !self.waits && self.dialogue.credential.is_some() {
            self.dialogue.over = true;
        }
        if self.server.next != Next::Nothing {
            self.awaited.push_back(wish);
        }
        let body = match request.body() {
            Body::Unsaid => Body::Length(0),
            body => body,
        };
        self.client.begin_body(bytes, end, body);
        true
    }

    /// The same for an answer, of which the request must have been read.
    fn read_answer(&mut self, bytes: &mut &[u8]) -> bool {
        if !self.server.pass(bytes) {
            return false;
        }
        let Some(&wish) = self.awaited.front() else { return false };
        let Some(head) = Head::read(bytes, 0) else { return self.server.give_up_if_long(bytes) };
        let Some(status) = status(head.start()) else {
            self.lose_answers();
            *bytes = &[];
            return false;
        };
        let Some(end) = head.end() else { return self.server.give_up_if_long(bytes) };
        let is_interim = (100..200).contains(&status) && status != 101;
        let switches = match wish {
            Wish::Tunnel => status / 100 == 2,
            Wish::Tls | Wish::Other => status == 101,
            Wish::Answer | Wish::Head => false,
        };
        let is_bare = is_interim || switches || wish == Wish::Head || matches!(status, 101 | 204 | 304);
        let body = if is_bare { Body::Length(0) } else { head.body() };
        self.server.begin_body(bytes, end, body);
        if is_interim {
            return true;
        }
        self.awaited.pop_front();
        if switches {
            let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            let (client, server) = (place(self.client.at), place(self.server.at));
            self.dialogue.asked = false;
            self.dialogue.over = true;
            self.dialogue.switch = match wish {
                Wish::Tunnel => Some(Switch { from: Upgrade::HttpConnect, client, server }),
                Wish::Tls => Some(Switch { from: Upgrade::HttpUpgrade, client, server }),
                Wish::Answer | Wish::Head | Wish::Other => None,
            };
        } else if self.waits && self.awaited.is_empty() {
            self.waits = false;
            self.dialogue.asked = false;
        }
        true
    }
}

fn wish(method: &[u8], request: &Head) -> Wish {
    match (method, request.field(b"Upgrade")) {
        (b"CONNECT", _) => Wish::Tunnel,
        (_, Some(value)) if begins_ignoring_case(value, b"TLS/") == super::Match::Yes => Wish::Tls,
        (_, Some(_)) => Wish::Other,
        (b"HEAD", None) => Wish::Head,
        _ => Wish::Answer,
    }
}

/// Of a status line; `None` if it is none.
fn status(line: &[u8]) -> Option<u16> {
    let digits = word(line.strip_prefix(b"HTTP/1.")?).1.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Messages {
    fn skip(&mut self, count: u64) {
        let (Next::Body(left) | Next::Chunk(left)) = &mut self.next else { return };
        let count = count.min(*left);
        *left -= count;
        self.at += count;
        self.next = match self.next {
            Next::Body(0) => Next::Head,
            Next::Chunk(0) => Next::ChunkEnd,
            next => next,
        };
    }

    fn take(&mut self, bytes: &mut &[u8], count: usize) {
        *bytes = bytes.get(count..).unwrap_or_default();
        self.at += count as u64;
    }

    /// Passes over what is no head, as far as it is there; whether a head comes next.
    fn pass(&mut self, bytes: &mut &[u8]) -> bool {
        loop {
            match self.next {
                Next::Head => return true,
                Next::Nothing => {
                    *bytes = &[];
                    return false;
                }
                Next::Body(left) | Next::Chunk(left) => {
                    let count = left.min(bytes.len() as u64);
                    self.skip(count);
                    *bytes = bytes.get(count as usize..).unwrap_or_default();
                    if count < left {
                        return false;
                    }
                }
                Next::ChunkLength | Next::ChunkEnd | Next::Trailer => {
                    let Some(end) = memchr(b'\n', bytes) else { return self.give_up_if_long(bytes) };
                    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
                    self.next = match (self.next, line) {
                        (Next::ChunkLength, line) => match chunk_length(line) {
                            Some(0) => Next::Trailer,
                            Some(length) => Next::Chunk(length),
                            None => Next::Nothing,
                        },
                        (Next::Trailer, []) => Next::Head,
                        (Next::Trailer, _) => Next::Trailer,
                        (_, []) => Next::ChunkLength,
                        (_, _) => Next::Nothing,
                    };
                    self.take(bytes, end + 1);
                }
            }
        }
    }

    /// A head or a line that has no end within the bound is not waited for. Always `false`.
    fn give_up_if_long(&mut self, bytes: &mut &[u8]) -> bool {
        if bytes.len() >= MAX_HEAD {
            self.next = Next::Nothing;
            *bytes = &[];
        }
        false
    }

    /// Behind a head of so many bytes.
    fn begin_body(&mut self, bytes: &mut &[u8], head: usize, body: Body) {
        self.take(bytes, head);
        self.next = match body {
            Body::Length(0) => Next::Head,
            Body::Length(length) => Next::Body(length),
            Body::Chunked => Next::ChunkLength,
            Body::Unsaid | Body::Unclear => Next::Nothing,
        };
    }
}

/// Digits may be followed by extensions (RFC 9112 section 7.1.1).
fn chunk_length(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > MAX_CHUNK_DIGITS {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()
}
