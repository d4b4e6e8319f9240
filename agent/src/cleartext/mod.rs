//! Cleartext: the first bytes of a connection that is not TLS → the name of its protocol, and what matters in its opening.
//!
//! Enters: a bounded prefix of each direction. Leaves: an [`Examination`]: the [`Name`] (found, found so far, certainly none of those
//! known, or not yet), whether a credential crossed in clear, and where the protocol switched to something else,
//! most often TLS. Decides by bytes, never by ports, and by both directions, since some protocols begin
//! with the server. Refuses: keeping what it read. A credential's value never leaves the function that saw it.
//!
//! A protocol is one file with one function from prefixes to [`Match`], if its opening matters another to a
//! [`Dialogue`], and one row in [`PROTOCOLS`].

mod amqp;
mod bgp;
mod cassandra;
mod cursor;
mod dns;
mod ftp;
mod head;
mod hpack;
mod http1;
mod http2;
mod imap;
mod irc;
mod kafka;
mod ldap;
mod memcached_binary;
mod memcached_text;
mod mongodb;
mod mqtt;
mod mysql;
mod name;
mod nats;
mod oracle;
mod pop3;
mod postgresql;
mod rdp;
mod redis;
mod reply;
mod rtsp;
mod sasl;
mod sip;
mod smb;
mod smtp;
mod socks;
mod ssh;
mod tds;
mod telnet;
mod text;
mod vnc;
mod xmpp;
mod zookeeper;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod text_samples;
#[cfg(test)]
mod text_tests;

pub use name::{Credential, Protocol, Upgrade};

use crate::tls::PEEK;

/// Bytes of each direction that are looked at in a protocol that can switch to TLS or authenticate in clear: greetings,
/// capabilities and a few commands, or the header of a request.
pub const LOOK: usize = 4096;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// This.
    Found(Protocol),
    /// This, unless more bytes tell that it is one that is built on it: what a connection that ends here, or says nothing
    /// more, is called.
    SoFar(Protocol),
    /// None of those known.
    Unknown,
    /// More bytes are needed to tell.
    Incomplete,
}

/// Where a protocol has made room for another, as both sides agreed: what follows in each direction belongs to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// Which did.
    pub from: Upgrade,
    /// Bytes of the client before the switch.
    pub client: usize,
    /// Bytes of the server before the switch.
    pub server: usize,
}

/// What the opening of a recognised protocol says so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialogue {
    /// The first credential that crossed in clear.
    pub credential: Option<Credential>,
    /// The switch to something else, once both sides agreed.
    pub switch: Option<Switch>,
    /// The client asked for a switch, and the server's answer is missing or neither yes nor no.
    pub asked: bool,
    /// What follows is, or may be, protected in a way of the protocol's own (GSS-API, a SASL layer).
    pub protected: bool,
    /// Nothing that follows can change any of this.
    pub over: bool,
}

/// What is known of two prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examination {
    /// What it is.
    pub name: Name,
    /// What was said.
    pub dialogue: Dialogue,
}

/// Whether prefixes fit one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    NotYet,
}

/// What is known of one protocol.
struct Row {
    protocol: Protocol,
    recognise: fn(client: &[u8], server: &[u8]) -> Match,
    /// Reads at most [`LOOK`] bytes of each direction of a recognised connection.
    listen: fn(client: &[u8], server: &[u8]) -> Dialogue,
}

/// In order of precedence.
const PROTOCOLS: &[Row] = &[
    // Those that begin with the server come first: what it said is not forgotten when the client speaks.
    Row { protocol: Protocol::Mysql, recognise: mysql::mysql, listen: mysql::listen },
    Row { protocol: Protocol::Bgp, recognise: bgp::bgp, listen: nothing },
    Row { protocol: Protocol::Http2, recognise: http2::http2, listen: http2::listen },
    Row { protocol: Protocol::Grpc, recognise: http2::grpc, listen: http2::listen },
    Row { protocol: Protocol::Http1, recognise: http1::http1, listen: http1::listen },
    Row { protocol: Protocol::Ssh, recognise: ssh::ssh, listen: nothing },
    Row { protocol: Protocol::Xmpp, recognise: xmpp::xmpp, listen: xmpp::listen },
    Row { protocol: Protocol::Redis, recognise: redis::redis, listen: redis::listen },
    Row { protocol: Protocol::Sip, recognise: sip::sip, listen: nothing },
    Row { protocol: Protocol::Rtsp, recognise: rtsp::rtsp, listen: rtsp::listen },
    Row { protocol: Protocol::Smtp, recognise: smtp::smtp, listen: smtp::listen },
    Row { protocol: Protocol::Ftp, recognise: ftp::ftp, listen: ftp::listen },
    Row { protocol: Protocol::Pop3, recognise: pop3::pop3, listen: pop3::listen },
    Row { protocol: Protocol::Imap, recognise: imap::imap, listen: imap::listen },
    Row { protocol: Protocol::Irc, recognise: irc::irc, listen: irc::listen },
    Row { protocol: Protocol::Nats, recognise: nats::nats, listen: nats::listen },
    Row { protocol: Protocol::Vnc, recognise: vnc::vnc, listen: nothing },
    Row { protocol: Protocol::Telnet, recognise: telnet::telnet, listen: nothing },
    Row { protocol: Protocol::Memcached, recognise: memcached_text::memcached, listen: nothing },
    Row { protocol: Protocol::Postgresql, recognise: postgresql::postgresql, listen: postgresql::listen },
    Row { protocol: Protocol::Amqp, recognise: amqp::amqp, listen: amqp::listen },
    Row { protocol: Protocol::Mqtt, recognise: mqtt::mqtt, listen: mqtt::listen },
    Row { protocol: Protocol::Mongodb, recognise: mongodb::mongodb, listen: mongodb::listen },
    Row { protocol: Protocol::Ldap, recognise: ldap::ldap, listen: ldap::listen },
    Row { protocol: Protocol::Smb, recognise: smb::smb, listen: nothing },
    Row { protocol: Protocol::Rdp, recognise: rdp::rdp, listen: rdp::listen },
    Row { protocol: Protocol::Tds, recognise: tds::tds, listen: tds::listen },
    Row { protocol: Protocol::Oracle, recognise: oracle::oracle, listen: nothing },
    Row { protocol: Protocol::Dns, recognise: dns::dns, listen: nothing },
    Row { protocol: Protocol::Cassandra, recognise: cassandra::cassandra, listen: cassandra::listen },
    Row {
        protocol: Protocol::Memcached,
        recognise: memcached_binary::memcached_binary,
        listen: memcached_binary::listen,
    },
    Row { protocol: Protocol::Zookeeper, recognise: zookeeper::zookeeper, listen: nothing },
    Row { protocol: Protocol::Socks, recognise: socks::socks, listen: socks::listen },
    Row { protocol: Protocol::Kafka, recognise: kafka::kafka, listen: kafka::listen },
];

/// Of a protocol whose opening holds nothing of interest.
fn nothing(_client: &[u8], _server: &[u8]) -> Dialogue {
    Dialogue { over: true, ..Dialogue::default() }
}

/// Names the protocol of two prefixes and listens to its opening. Looks at no more than [`LOOK`] bytes of each.
pub fn examine(client: &[u8], server: &[u8]) -> Examination {
    let (client, server) = (&client[..client.len().min(LOOK)], &server[..server.len().min(LOOK)]);
    let (name, row) = find(&client[..client.len().min(PEEK)], &server[..server.len().min(PEEK)]);
    let dialogue = row.map(|row| (row.listen)(client, server)).unwrap_or_default();
    Examination { name, dialogue }
}

/// Names the protocol of two prefixes of at most [`PEEK`] bytes. Empty ones are incomplete.
pub fn name(client: &[u8], server: &[u8]) -> Name {
    find(client, server).0
}

fn find(client: &[u8], server: &[u8]) -> (Name, Option<&'static Row>) {
    let mut undecided = client.is_empty();
    for row in PROTOCOLS {
        match (row.recognise)(client, server) {
            Match::Yes => return (Name::Found(row.protocol), Some(row)),
            Match::NotYet => undecided = true,
            Match::No => {}
        }
    }
    let name = match undecided {
        true if http2::is_begun(client) => Name::SoFar(Protocol::Http2),
        true => Name::Incomplete,
        false => Name::Unknown,
    };
    (name, None)
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
