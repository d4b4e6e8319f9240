//! Both directions of a connection that is TLS: reads messages into facts, lets the version's rules conclude.

use sha2::{Digest, Sha256};

use super::conversation::Direction;
use super::hello::{
    ClientHello, OfferedTypes, ServerHello, SessionId, client_hello, hello_retry_request_of_draft,
    server_hello,
};
use super::inference::Inference;
use super::message::{self, Shown, kind};
use super::outline::{Entry, What};
use super::stream::{HANDSHAKE, Incoming, Stream};
use super::suite::{KeyExchange, Proof, key_exchange, proof};
use super::{
    CertificateType, ClientAuthentication, HandshakeState, IncompleteReason, Resumption,
    ServerAuthentication, SessionHandle, TlsFacts, UnknownReason, Version, classic, history, modern, ssl2,
};

/// Tickets kept: TLS ≤ 1.2 issues one per handshake.
const MAX_TICKETS: usize = 4;
/// ClientHellos: one, and one more after HelloRetryRequest.
const MAX_CLIENT_HELLOS: u8 = 2;

/// What the hellos said that is not a fact by itself.
#[derive(Debug, Default)]
pub(super) struct Offer {
    random: [u8; 32],
    pub session_id: Option<SessionId>,
    pub ticket: Option<SessionHandle>,
    certificate_types: OfferedTypes,
}

/// Sides whose Certificate message shows something that is not read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub client: bool,
    pub server: bool,
}

/// The same of the ServerHello.
#[derive(Debug, Default)]
pub(super) struct Choice {
    random: [u8; 32],
    pub session_id: Option<SessionHandle>,
    pub pre_shared_key: bool,
    /// Of the suite; in TLS 1.3 suites say nothing about it.
    pub proof: Proof,
}

#[derive(Debug, Default)]
pub(super) struct Handshake {
    pub client: Stream,
    pub server: Stream,
    pub facts: TlsFacts,
    pub offer: Option<Offer>,
    client_hellos: u8,
    pub choice: Option<Choice>,
    pub tickets_issued: Vec<SessionHandle>,
    pub unread: Unread,
    /// The connection ended; gracefully or not.
    pub closed: Option<bool>,
    /// What the geometry of TLS 1.3 records said, once it did.
    pub inference: Option<Inference>,
    /// Where the client's last message of a TLS 1.3 handshake ends, once the geometry said so.
    pub flight_end: Option<u64>,
    /// The rules wait for bytes that a sender had seen, and that were not observed yet.
    pub waits: bool,
    /// [`TlsFacts::incomplete`] is there because bytes are missing, not because a chain was too long.
    lossy: bool,
    settled: bool,
}

impl Handshake {
    pub fn push(&mut self, direction: Direction, bytes: &[u8], acknowledged: u64) {
        let news = match direction {
            Direction::Client => {
                let Handshake { client, facts, offer, client_hellos, unread, .. } = self;
                client.push(bytes, acknowledged, &mut |incoming| match incoming {
                    Incoming::Message(message, body) => {
                        read_client(facts, offer, client_hellos, &mut unread.client, message, body)
                    }
                    Incoming::Ssl2Hello(message) => read_ssl2_client(facts, offer, client_hellos, message),
                })
            }
            Direction::Server => {
                let Handshake { server, facts, choice, tickets_issued, unread, .. } = self;
                server.push(bytes, acknowledged, &mut |incoming| match incoming {
                    Incoming::Message(message, body) => {
                        read_server(facts, choice, tickets_issued, &mut unread.server, message, body)
                    }
                    Incoming::Ssl2Hello(message) => read_ssl2_server(facts, choice, message),
                })
            }
        };
        if news || self.waits {
            self.conclude();
        }
    }

    pub fn skip(&mut self, direction: Direction, count: u64) {
        self.stream_mut(direction).skip(count);
        if self.waits {
            self.conclude();
        }
    }

    pub fn set_broken(&mut self, direction: Direction, reason: IncompleteReason) {
        self.stream_mut(direction).set_broken(reason);
        self.conclude();
    }

    pub fn close(&mut self, graceful: bool) {
        self.closed.get_or_insert(graceful);
        self.conclude();
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.client.held() + self.server.held() + self.facts.held()
    }

    pub fn stream(&self, direction: Direction) -> &Stream {
        match direction {
            Direction::Client => &self.client,
            Direction::Server => &self.server,
        }
    }

    fn stream_mut(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Client => &mut self.client,
            Direction::Server => &mut self.server,
        }
    }

    /// Bytes of client and server up to the end of the handshake, as far as it is known: of what is encrypted in TLS
    /// 1.3, the client's flight and what the server sent before it had that.
    pub fn handshake_bytes(&self) -> (u64, u64) {
        let last = |stream: &Stream, belongs: &dyn Fn(&Entry) -> bool| {
            let of_handshake = |entry: &&Entry| match entry.what {
                What::Message(_) | What::HelloRetryRequest | What::ChangeCipherSpec => true,
                What::Alert { .. } => false,
                What::Encrypted { content, .. } => content == HANDSHAKE || belongs(entry),
            };
            stream.outline.entries().iter().filter(of_handshake).map(|entry| entry.end).max().unwrap_or(0)
        };
        let flight_end = self.flight_end.unwrap_or(0);
        let client = last(&self.client, &|entry| entry.end <= flight_end);
        let server = last(&self.server, &|entry| entry.acknowledged < flight_end);
        (client, server)
    }

    /// No further byte is wanted.
    pub fn settled(&self) -> bool {
        let client_dead = self.client.broken().is_some();
        let server_dead = self.server.broken().is_some();
        let classic = self.facts.version.is_some_and(|version| !version.is_modern());
        self.settled
            || self.closed.is_some()
            || (client_dead && server_dead)
            || (client_dead && self.inference.is_none() && self.server.outline.change_cipher_spec().is_some())
            || (server_dead && self.offer.is_some() && self.choice.is_none())
            || (server_dead && classic && self.client.outline.change_cipher_spec().is_some())
    }

    /// Why what was not seen was not seen.
    pub fn unseen(&self) -> UnknownReason {
        self.client.broken().or(self.server.broken()).map_or(UnknownReason::Incomplete, UnknownReason::from)
    }

    /// Whether a fatal alert in clear ended the handshake. It counts once all is here that its sender had seen.
    pub fn has_fatal_alert(&self) -> bool {
        let counts = |from: &Stream, to: &Stream| {
            let alert = from.outline.fatal_alert();
            alert.is_some_and(|alert| self.has_seen(to, alert.acknowledged))
        };
        counts(&self.client, &self.server) || counts(&self.server, &self.client)
    }

    /// Whether a direction was observed up to an offset, as far as it ever will be.
    pub fn has_seen(&self, stream: &Stream, offset: u64) -> bool {
        stream.seen_to() >= offset || stream.broken().is_some() || self.closed.is_some()
    }

    fn conclude(&mut self) {
        // Renegotiation apart, what is settled stays; losses behind it do not matter.
        let was_settled = self.settled;
        if was_settled && self.facts.version.is_some_and(Version::is_modern) {
            return;
        }
        let lost = self.client.broken().or(self.server.broken());
        if !was_settled && let Some(reason) = lost {
            self.lossy |= self.facts.incomplete.is_none();
            self.facts.incomplete.get_or_insert(reason);
            if self.facts.server_authentication == ServerAuthentication::Unknown(UnknownReason::Incomplete) {
                self.facts.server_authentication = ServerAuthentication::Unknown(reason.into());
            }
            if self.facts.client_authentication == ClientAuthentication::Unknown(UnknownReason::Incomplete) {
                self.facts.client_authentication = ClientAuthentication::Unknown(reason.into());
            }
        }
        if let (Some(offer), Some(choice), None) = (&self.offer, &self.choice, self.facts.session_id) {
            self.facts.session_id = session_id(&offer.random, &choice.random);
        }
        let alerted =
            self.client.outline.fatal_alert().is_some() || self.server.outline.fatal_alert().is_some();
        self.waits = alerted && !self.has_fatal_alert();
        self.settled |= match self.facts.version {
            Some(Version::Ssl2) => ssl2::conclude(self),
            Some(version) if version.is_modern() => modern::conclude(self),
            Some(_) => classic::conclude(self),
            None => {
                let fatal = self.has_fatal_alert();
                // The server answered in something that is not TLS.
                let refused = self.server.broken() == Some(IncompleteReason::Malformed)
                    && self.server.outline.entries().is_empty();
                if fatal || refused {
                    self.facts.handshake = HandshakeState::Failed;
                }
                fatal || refused
            }
        };
        let classic = self.facts.version.is_some_and(|version| !version.is_modern());
        if self.lossy && classic && self.facts.handshake == HandshakeState::Complete {
            // Both Finished were seen, and so was all before them: what is missing is behind.
            self.facts.incomplete = None;
            self.lossy = false;
        }
        if self.facts.handshake == HandshakeState::Incomplete && lost == Some(IncompleteReason::MidStream) {
            self.facts.handshake = HandshakeState::MidStream;
        }
        if self.is_told() {
            self.tell();
        }
    }

    /// The facts as they are, with the history.
    pub fn facts(&self) -> TlsFacts {
        let mut facts = self.facts.clone();
        if !self.is_told() {
            history::tell(&self.client.outline, &self.server.outline, &mut facts.history, &mut facts.alerts);
        }
        facts
    }

    /// The same, for the last time.
    pub fn into_facts(mut self) -> TlsFacts {
        if !self.is_told() {
            self.tell();
        }
        self.facts
    }

    /// What is settled of TLS 1.3 stays, and so does its history.
    fn is_told(&self) -> bool {
        self.settled && self.facts.version.is_some_and(Version::is_modern)
    }

    fn tell(&mut self) {
        let TlsFacts { history, alerts, .. } = &mut self.facts;
        history::tell(&self.client.outline, &self.server.outline, history, alerts);
    }

    /// The first thing that was sent is a ClientHello.
    pub fn begins_with_client_hello(&self) -> bool {
        history::begins_with_client_hello(&self.client.outline, &self.server.outline)
    }
}

fn session_id(client_random: &[u8; 32], server_random: &[u8; 32]) -> Option<[u8; 16]> {
    let digest: [u8; 32] =
        Sha256::new().chain_update(client_random).chain_update(server_random).finalize().into();
    digest.first_chunk().copied()
}

fn read_client(
    facts: &mut TlsFacts,
    offer: &mut Option<Offer>,
    client_hellos: &mut u8,
    unread: &mut bool,
    message: u8,
    body: &[u8],
) -> Result<What, IncompleteReason> {
    match message {
        kind::CLIENT_HELLO => {
            *client_hellos += 1;
            if *client_hellos > MAX_CLIENT_HELLOS {
                return Err(IncompleteReason::Malformed);
            }
            let hello: ClientHello = client_hello(body)?;
            facts.session_id = None;
            facts.version_offered = hello.version;
            facts.server_name = hello.server_name;
            facts.alpn_offered = hello.alpn;
            // The second ClientHello drops early_data, which the first may have announced (RFC 8446 section 4.1.2).
            facts.early_data_offered |= hello.early_data;
            facts.encrypted_client_hello = hello.encrypted_client_hello;
            if facts.ja4.is_none() {
                facts.ja4 = hello.ja4;
            }
            facts.delegated_credential_offered = hello.delegated_credential;
            facts.certificate_compression_offered = hello.certificate_compression;
            facts.raw_public_key_offered = hello.raw_public_key;
            *offer = Some(Offer {
                random: hello.random,
                session_id: hello.session_id,
                ticket: hello.ticket,
                certificate_types: hello.client_certificate_types,
            });
        }
        kind::SERVER_HELLO => return Err(IncompleteReason::Malformed),
        kind::CERTIFICATE if facts.client_chain.is_empty() && facts.client_public_key.is_none() => {
            // What the server chose may not have been observed yet; what the client may show was.
            let allowed = offer.as_ref().map(|offer| offer.certificate_types).unwrap_or_default();
            match message::shown(body, allowed)? {
                Shown::Chain(chain) => {
                    facts.client_chain = chain.certificates;
                    if chain.truncated {
                        facts.incomplete.get_or_insert(IncompleteReason::Truncated);
                    }
                }
                Shown::RawPublicKey(key) => facts.client_public_key = Some(key),
                Shown::Unread => *unread = true,
            }
        }
        _ => {}
    }
    Ok(What::Message(message))
}

fn read_ssl2_client(
    facts: &mut TlsFacts,
    offer: &mut Option<Offer>,
    client_hellos: &mut u8,
    message: &[u8],
) -> Result<What, IncompleteReason> {
    let hello = ssl2::client_hello(message)?;
    *client_hellos = 1;
    facts.version_offered = hello.version;
    *offer = Some(Offer { random: hello.random, session_id: hello.session_id, ..Offer::default() });
    Ok(What::Message(kind::CLIENT_HELLO))
}

fn read_ssl2_server(
    facts: &mut TlsFacts,
    choice: &mut Option<Choice>,
    message: &[u8],
) -> Result<What, IncompleteReason> {
    let hello = ssl2::server_hello(message)?;
    if choice.is_some() {
        return Err(IncompleteReason::Malformed);
    }
    facts.version = Some(Version::Ssl2);
    facts.resumption = if hello.resumes { Resumption::SessionId } else { Resumption::No };
    facts.server_chain = hello.certificate.into_iter().collect();
    Ok(What::Message(kind::SERVER_HELLO))
}

fn read_server(
    facts: &mut TlsFacts,
    choice: &mut Option<Choice>,
    tickets_issued: &mut Vec<SessionHandle>,
    unread: &mut bool,
    message: u8,
    body: &[u8],
) -> Result<What, IncompleteReason> {
    match message {
        kind::SERVER_HELLO => {
            let hello: ServerHello = server_hello(body)?;
            if choice.is_some() || (hello.retry && facts.hello_retry_request) {
                return Err(IncompleteReason::Malformed);
            }
            facts.version = hello.version;
            facts.cipher_suite = Some(hello.cipher_suite);
            facts.group = hello.group;
            if hello.retry {
                facts.hello_retry_request = true;
                return Ok(What::HelloRetryRequest);
            }
            facts.alpn = hello.alpn;
            facts.client_certificate_type = hello.client_certificate_type;
            facts.server_certificate_type = hello.server_certificate_type;
            *choice = Some(Choice {
                random: hello.random,
                session_id: hello.session_id,
                pre_shared_key: hello.pre_shared_key,
                proof: proof(hello.cipher_suite),
            });
        }
        kind::CLIENT_HELLO => return Err(IncompleteReason::Malformed),
        kind::HELLO_RETRY_REQUEST => {
            if choice.is_some() || facts.hello_retry_request {
                return Err(IncompleteReason::Malformed);
            }
            facts.version = Some(hello_retry_request_of_draft(body)?);
            facts.hello_retry_request = true;
            return Ok(What::HelloRetryRequest);
        }
        kind::CERTIFICATE if facts.server_chain.is_empty() && facts.server_public_key.is_none() => {
            let kind = facts.server_certificate_type.unwrap_or(CertificateType::X509);
            let allowed = OfferedTypes {
                raw_public_key: kind == CertificateType::RawPublicKey,
                other: !matches!(kind, CertificateType::X509 | CertificateType::RawPublicKey),
            };
            match message::shown(body, allowed)? {
                Shown::Chain(chain) => {
                    facts.server_chain = chain.certificates;
                    if chain.truncated {
                        facts.incomplete.get_or_insert(IncompleteReason::Truncated);
                    }
                }
                Shown::RawPublicKey(key) => facts.server_public_key = Some(key),
                Shown::Unread => *unread = true,
            }
        }
        kind::SERVER_KEY_EXCHANGE => match key_exchange(facts.cipher_suite.unwrap_or_default()) {
            KeyExchange::EllipticCurve => facts.group = message::named_curve(body, false),
            KeyExchange::EllipticCurveAfterHint => facts.group = message::named_curve(body, true),
            KeyExchange::Other => {}
        },
        kind::NEW_SESSION_TICKET if tickets_issued.len() < MAX_TICKETS => {
            tickets_issued.extend(message::session_ticket(body)?);
        }
        kind::CERTIFICATE_STATUS => facts.ocsp_staple = Some(true),
        _ => {}
    }
    Ok(What::Message(message))
}

impl From<IncompleteReason> for UnknownReason {
    fn from(reason: IncompleteReason) -> UnknownReason {
        match reason {
            IncompleteReason::Lost => UnknownReason::Lost,
            IncompleteReason::Budget => UnknownReason::Budget,
            IncompleteReason::Truncated => UnknownReason::Truncated,
            IncompleteReason::MidStream => UnknownReason::MidStream,
            IncompleteReason::Malformed => UnknownReason::Malformed,
            IncompleteReason::Conflicting => UnknownReason::Conflicting,
        }
    }
}
