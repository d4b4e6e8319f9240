//! One record of the replay, read by the names of the contract.

use std::net::SocketAddr;

use countersign_tests::{at, text};
use serde_json::Value;

/// A connection as the replay reports it.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a>(pub &'a Value);

/// Its two ends, in an order that does not depend on who is the client: a witness may see it the other
/// way round.
pub type Ends = (SocketAddr, SocketAddr);

/// The ends of a connection in that order.
pub fn ends(one: SocketAddr, other: SocketAddr) -> Ends {
    (one.min(other), one.max(other))
}

impl<'a> Connection<'a> {
    /// A string field, empty if it is null.
    pub fn text(self, pointer: &str) -> &'a str {
        text(self.0, pointer)
    }

    fn end(self, side: &str) -> Option<SocketAddr> {
        let address = self.text(&format!("/{side}/address")).parse().ok()?;
        let port = at(self.0, &format!("/{side}/port")).as_u64()?;
        Some(SocketAddr::new(address, port.try_into().ok()?))
    }

    /// The client's address and port.
    pub fn client(self) -> Option<SocketAddr> {
        self.end("client")
    }

    /// The server's.
    pub fn server(self) -> Option<SocketAddr> {
        self.end("server")
    }

    /// Both.
    pub fn ends(self) -> Option<Ends> {
        Some(ends(self.client()?, self.server()?))
    }

    /// `client>server`, where a witness has no number for it.
    pub fn stream(self) -> String {
        let show = |end: Option<SocketAddr>| end.map_or_else(|| "?".to_owned(), |end| end.to_string());
        format!("{}>{}", show(self.client()), show(self.server()))
    }

    /// A ServerHello was seen in clear: the suite is known from nothing else.
    pub fn is_answered_tls(self) -> bool {
        !self.text("/tls/cipher_suite_id").is_empty()
    }

    /// The connection whose session it resumes, if that was seen.
    pub fn inherited_from(self) -> Option<&'a str> {
        Some(self.text("/server/inherited_from")).filter(|id| !id.is_empty())
    }

    /// The chain that one side showed in this very handshake: a resumed one shows none.
    pub fn shown_chain(self, side: &str) -> Vec<&'a str> {
        if self.inherited_from().is_some() { Vec::new() } else { self.chain(side) }
    }

    /// The chain of one side, shown or inherited.
    pub fn chain(self, side: &str) -> Vec<&'a str> {
        let chain = at(self.0, &format!("/{side}/certificates")).as_array();
        chain.into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

/// A chain as it stands in tables: the beginnings of the fingerprints.
pub fn chain_in_short<T: AsRef<str>>(chain: &[T]) -> String {
    if chain.is_empty() {
        return "none".to_owned();
    }
    let short = |fingerprint: &T| fingerprint.as_ref().get(..12).unwrap_or("?").to_owned();
    chain.iter().map(short).collect::<Vec<_>>().join(",")
}
