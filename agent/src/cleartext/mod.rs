//! Cleartext: the first bytes of a connection that is not TLS → the name of its protocol.
//!
//! Enters: a bounded prefix of each direction. Leaves: a [`Name`], three-valued: found, certainly none of those
//! known, or not yet. Decides by bytes, never by ports, and by either direction, since some protocols begin
//! with the server. Refuses: keeping what it read, and everything behind the first line.
//!
//! A protocol is one file with one function from prefixes to [`Match`], and one row in [`PROTOCOLS`].

mod http;
mod ssh;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(test)]
mod tests;

/// An application protocol in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and 1.1 (RFC 9112).
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 section 3.3).
    Http2,
    /// SSH (RFC 4253).
    Ssh,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// This.
    Found(Protocol),
    /// None of those known.
    Unknown,
    /// More bytes are needed to tell.
    Incomplete,
}

/// Whether prefixes fit one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    NotYet,
}

type Recognise = fn(client: &[u8], server: &[u8]) -> Match;

/// In order of precedence.
const PROTOCOLS: [(Protocol, Recognise); 3] =
    [(Protocol::Http2, http::http2), (Protocol::Http1, http::http1), (Protocol::Ssh, ssh::ssh)];

impl Protocol {
    /// As the public record names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http1 => "http/1",
            Protocol::Http2 => "http/2",
            Protocol::Ssh => "ssh",
        }
    }

    /// It encrypts and authenticates in its own way after its opening in clear.
    pub fn protects_itself(self) -> bool {
        matches!(self, Protocol::Ssh)
    }
}

/// Names the protocol of two prefixes. Empty ones are incomplete.
pub fn name(client: &[u8], server: &[u8]) -> Name {
    let mut undecided = client.is_empty();
    for (protocol, recognise) in PROTOCOLS {
        match recognise(client, server) {
            Match::Yes => return Name::Found(protocol),
            Match::NotYet => undecided = true,
            Match::No => {}
        }
    }
    if undecided { Name::Incomplete } else { Name::Unknown }
}

/// Whether `bytes` begin with `wanted`, as far as they go.
fn begins(bytes: &[u8], wanted: &[u8]) -> Match {
    let count = bytes.len().min(wanted.len());
    match bytes[..count] == wanted[..count] {
        true if bytes.len() >= wanted.len() => Match::Yes,
        true => Match::NotYet,
        false => Match::No,
    }
}
