//! Real clients and servers, in memory: what they would send to each other, flight by flight.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::Resumption;
use rustls::crypto::ring::Ticketer;
use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection,
    SupportedProtocolVersion, version,
};

use super::identities::{Identities, Identity, server_name};
use super::mix::{Client, Exchange, Handshake, SERVERS, Version};
use crate::bench::handshake::Flight;

/// Tickets that a resuming client keeps: rustls allots eight to a server, and forgets servers beyond.
const TICKETS: usize = SERVERS * 8;

/// What was sent, and what one knows of it without looking at the bytes.
pub struct Conversation {
    pub flights: Vec<Flight>,
    /// Nothing: in clear.
    pub tls: Option<Negotiated>,
}

/// A handshake that took place.
#[derive(Debug, Clone, Copy)]
pub struct Negotiated {
    pub handshake: Handshake,
    /// Whether it resumed a session; the first connection of a client that resumes cannot.
    pub resumed: bool,
}

/// The peers of one thread.
pub struct Peers<'a> {
    identities: &'a Identities,
    servers: HashMap<(usize, Asks), Arc<ServerConfig>>,
    clients: HashMap<(Version, Client, bool), Arc<ClientConfig>>,
}

/// Whether a server requests certificates; those who do leave the choice to the client.
type Asks = bool;

impl<'a> Peers<'a> {
    pub fn new(identities: &'a Identities) -> Self {
        Self { identities, servers: HashMap::new(), clients: HashMap::new() }
    }

    /// Lets two peers do what the exchange says.
    pub fn converse(&mut self, exchange: &Exchange) -> Result<Conversation> {
        let request = http("GET /v1/objects HTTP/1.1\r\nhost: bench.example\r\nx-fill: ", exchange.request);
        let response = http("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-fill: ", exchange.response);
        let Some(handshake) = exchange.tls else {
            let flights = vec![
                Flight { from_client: true, bytes: request },
                Flight { from_client: false, bytes: response },
            ];
            return Ok(Conversation { flights, tls: None });
        };
        let name = ServerName::try_from(server_name(handshake.server))?;
        let mut line = Line {
            client: ClientConnection::new(self.client(&handshake)?, name)?.into(),
            server: ServerConnection::new(self.server(&handshake)?)?.into(),
            flights: Vec::new(),
        };
        line.settle()?;
        if line.client.is_handshaking() || line.server.is_handshaking() {
            bail!("the handshake of {handshake:?} did not end");
        }
        line.send(true, &request)?;
        line.send(false, &response)?;
        line.client.send_close_notify();
        line.settle()?;
        line.server.send_close_notify();
        line.settle()?;
        let resumed = line.client.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Conversation { flights: line.flights, tls: Some(Negotiated { handshake, resumed }) })
    }

    fn server(&mut self, handshake: &Handshake) -> Result<Arc<ServerConfig>> {
        let key = (handshake.server, handshake.client != Client::NotRequested);
        if let Some(config) = self.servers.get(&key) {
            return Ok(config.clone());
        }
        let identity = identity(&self.identities.servers, handshake.server)?;
        let builder = ServerConfig::builder();
        let builder = if key.1 {
            let verifier = WebPkiClientVerifier::builder(Arc::new(self.identities.roots.clone()));
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_single_cert(identity.chain.clone(), identity.key())?;
        config.ticketer = Ticketer::new()?;
        let config = Arc::new(config);
        self.servers.insert(key, config.clone());
        Ok(config)
    }

    fn client(&mut self, handshake: &Handshake) -> Result<Arc<ClientConfig>> {
        let key = (handshake.version, handshake.client, handshake.resumes);
        let config = match self.clients.get(&key) {
            Some(config) => config.clone(),
            None => {
                let config = Arc::new(self.make_client(handshake)?);
                self.clients.insert(key, config.clone());
                config
            }
        };
        if handshake.resumes {
            return Ok(config);
        }
        // It offers to take tickets as all clients do, and forgets them with this connection.
        let mut forgetful = (*config).clone();
        forgetful.resumption = Resumption::in_memory_sessions(1);
        Ok(Arc::new(forgetful))
    }

    fn make_client(&self, handshake: &Handshake) -> Result<ClientConfig> {
        let version: &SupportedProtocolVersion = match handshake.version {
            Version::Tls12 => &version::TLS12,
            Version::Tls13 => &version::TLS13,
        };
        let builder = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(self.identities.roots.clone());
        let mut config = match handshake.client {
            Client::Presents(number) => {
                let identity = identity(&self.identities.clients, number)?;
                builder.with_client_auth_cert(identity.chain.clone(), identity.key())?
            }
            Client::NoneSent | Client::NotRequested => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(TICKETS);
        Ok(config)
    }
}

fn identity(identities: &[Identity], number: usize) -> Result<&Identity> {
    identities.get(number).context("the mix names an identity that was not made")
}

/// A message with this beginning and length; longer, if the beginning is.
fn http(beginning: &str, length: usize) -> Vec<u8> {
    const END: &[u8] = b"\r\n\r\n";
    let mut message = beginning.as_bytes().to_vec();
    let fill = length.saturating_sub(message.len() + END.len());
    message.extend(std::iter::repeat_n(b'x', fill));
    message.extend(END);
    message
}

/// Two peers and all that went between them.
struct Line {
    client: Connection,
    server: Connection,
    flights: Vec<Flight>,
}

impl Line {
    /// Passes bytes on until neither side has any.
    fn settle(&mut self) -> Result<()> {
        while self.pass(true)? || self.pass(false)? {}
        Ok(())
    }

    fn send(&mut self, from_client: bool, bytes: &[u8]) -> Result<()> {
        let sender = if from_client { &mut self.client } else { &mut self.server };
        sender.set_buffer_limit(None);
        sender.writer().write_all(bytes)?;
        self.settle()
    }

    /// Passes one flight on; false if there was none.
    fn pass(&mut self, from_client: bool) -> Result<bool> {
        let (from, to) = if from_client {
            (&mut self.client, &mut self.server)
        } else {
            (&mut self.server, &mut self.client)
        };
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes)?;
        }
        if bytes.is_empty() {
            return Ok(false);
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            to.read_tls(&mut unread)?;
            let state = to.process_new_packets()?;
            let mut plaintext = vec![0; state.plaintext_bytes_to_read()];
            to.reader().read_exact(&mut plaintext)?;
        }
        match self.flights.last_mut() {
            Some(last) if last.from_client == from_client => last.bytes.extend(bytes),
            _ => self.flights.push(Flight { from_client, bytes }),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_converses_and_only_those_resume_that_should() {
        let identities = Identities::make().unwrap();
        let mut peers = Peers::new(&identities);
        for version in [Version::Tls12, Version::Tls13] {
            for server in [0, SERVERS - 1] {
                for client in
                    [Client::NotRequested, Client::NoneSent, Client::Presents(0), Client::Presents(99)]
                {
                    for (resumes, resumed) in [(false, false), (false, false), (true, false), (true, true)] {
                        let tls = Some(Handshake { version, server, client, resumes });
                        let exchange = Exchange { tls, request: 300, response: 70_000 };
                        let conversation = peers.converse(&exchange).unwrap();
                        assert_eq!(conversation.tls.unwrap().resumed, resumed, "{exchange:?}");
                        let bytes: usize = conversation.flights.iter().map(|flight| flight.bytes.len()).sum();
                        assert!((70_300..90_000).contains(&bytes), "{exchange:?}: {bytes}");
                    }
                }
            }
        }
    }
}
