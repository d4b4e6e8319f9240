//! The public record of a connection, from its facts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use uuid::Builder;

use super::findings::hex;
use super::host::{Host, Interfaces};
use crate::certificate;
use crate::connection::{Connection, ConnectionKey, Fingerprint, Side};
use crate::event::{CloseReason, Role, Timestamp};
use crate::identity::{KnownProcess, WallClock};
use crate::record::*;
use crate::scope::Networks;
use crate::tls::{
    self, ClientAuthentication, ClientOutcome, HandshakeState, IncompleteReason, Ja4, Resumption, TlsFacts,
};

/// What is needed beside the facts.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Where it was seen.
    pub source: Source<'a>,
    /// The clock of the events.
    pub clock: WallClock,
    /// What is internal.
    pub networks: &'a Networks,
}

/// Where connections were seen.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// On this host.
    Live {
        /// Its names.
        host: &'a Host,
        /// Names of its interfaces.
        interfaces: &'a Interfaces,
    },
    /// In a capture, which knows no host and no process.
    Replay {
        /// Its name, as it was given.
        file: Option<&'a Arc<str>>,
    },
}

impl Source<'_> {
    fn host(&self) -> Option<&Host> {
        match self {
            Source::Live { host, .. } => Some(host),
            Source::Replay { .. } => None,
        }
    }
}

/// Who held the sockets, in the order of [`Side::holders`].
#[derive(Debug, Default)]
pub struct Holders {
    /// Of the client's socket.
    pub client: Vec<Arc<KnownProcess>>,
    /// Of the server's.
    pub server: Vec<Arc<KnownProcess>>,
}

/// Chains as they were presented, as far as they are remembered.
#[derive(Debug, Default)]
pub struct Chains {
    /// Client's, leaf first.
    pub client: Vec<Arc<CertificateRecord>>,
    /// Server's, leaf first.
    pub server: Vec<Arc<CertificateRecord>>,
}

/// The id of a connection: UUIDv7 (RFC 9562) of the time at which it was opened, with the boot and its serial number
/// in place of chance: unique on this host, and the same for every revision. In replay there is no boot, and the serial number
/// is made of addresses and initial sequence numbers.
pub fn id(key: ConnectionKey, around: &Surroundings<'_>) -> String {
    let nanoseconds = u64::try_from(around.clock.wall(key.opened).0).unwrap_or(0);
    let mut chance = [0; 10];
    match around.source.host() {
        Some(host) => {
            let mut hash = Sha256::new();
            hash.update(host.boot_id.as_deref().unwrap_or_default());
            hash.update(key.opened.0.to_le_bytes());
            hash.update(key.serial.to_le_bytes());
            chance.copy_from_slice(&hash.finalize()[..10]);
        }
        None => {
            // Twelve bits of the fraction of the millisecond (section 6.2, method 3): ids sort as connections were opened.
            let fraction = (nanoseconds % 1_000_000 * 4096 / 1_000_000) as u16;
            chance[..2].copy_from_slice(&fraction.to_be_bytes());
            chance[2..].copy_from_slice(&key.serial.to_be_bytes());
        }
    }
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let id = Builder::from_unix_timestamp_millis(nanoseconds / 1_000_000, &chance).into_uuid();
    id.hyphenated().encode_lower(&mut text).to_owned()
}

/// The record, without revision, findings and policy.
pub fn compose(
    connection: &Connection,
    holders: &Holders,
    chains: &Chains,
    around: &Surroundings<'_>,
) -> ConnectionRecord {
    let (client_address, server_address) = addresses(connection);
    // The side that a capture has is no socket of this host.
    let local = match around.source {
        Source::Live { .. } => (connection.client.is_some(), connection.server.is_some()),
        Source::Replay { .. } => (false, false),
    };
    let scope = around.networks.scope(client_address.ip(), server_address.ip(), local);
    let conclusion = connection.conclusion;
    let inherited = connection.inherited_from.as_deref().map(|key| id(*key, around));
    let (mut client, mut server) = match around.source {
        Source::Live { .. } => (
            endpoint(client_address, connection.client.as_deref(), &holders.client),
            endpoint(server_address, connection.server.as_deref(), &holders.server),
        ),
        Source::Replay { .. } => (captured(client_address), captured(server_address)),
    };
    dialled(connection, &mut server);
    if let (Some(own), Some(peer)) = (&connection.client, &connection.server)
        && peer.pair.remote != own.pair.local
    {
        client.translated.push(peer.pair.remote.to_string());
    }
    certify(&mut client, connection.chain(Role::Client), &chains.client, inherited.as_ref());
    certify(&mut server, connection.chain(Role::Server), &chains.server, inherited.as_ref());
    client.verification = connection.verification(Role::Client);
    server.verification = connection.verification(Role::Server);
    let wall = |at| around.clock.wall(at);
    // The clock of a capture can go back.
    let is_later = |at: &Timestamp| *at >= connection.key.opened;
    let host = around.source.host();
    ConnectionRecord {
        schema: CONNECTION_SCHEMA.into(),
        id: id(connection.key, around),
        revision: 0,
        r#final: false,
        session_id: connection.session_id.map(|id| hex(&id)),
        host: host.and_then(|host| host.name.clone()),
        host_id: host.and_then(|host| host.id.clone()),
        boot_id: host.and_then(|host| host.boot_id.clone()),
        agent_version: host.map(|_| env!("CARGO_PKG_VERSION").into()),
        source: if host.is_some() { "live" } else { "replay" }.into(),
        file: match around.source {
            Source::Replay { file } => file.cloned(),
            Source::Live { .. } => None,
        },
        opened: wall(connection.key.opened),
        decided: connection.decided.filter(is_later).map(wall),
        closed: connection.closed.filter(is_later).map(wall),
        close_reason: connection.closed.and(connection.close_reason).map(close_reason),
        scope,
        interface: match around.source {
            Source::Live { interfaces, .. } => interfaces.name(connection),
            Source::Replay { .. } => None,
        },
        client,
        server,
        observed_from: [(local.0, SideName::Client), (local.1, SideName::Server)]
            .into_iter()
            .filter_map(|(here, side)| here.then_some(side))
            .collect(),
        protocol: conclusion.protocol.as_str().into(),
        upgraded_from: connection.upgraded_from.map(|from| from.as_str().into()),
        encryption: conclusion.encryption,
        authentication: conclusion.authentication,
        evidence: EvidenceRecord {
            server: conclusion.server.kind,
            client: conclusion.client.kind,
            reason: conclusion.reason.map(|reason| reason.as_str().into()),
            disagreement: connection.disagreement(),
        },
        confidence: ConfidenceRecord {
            server: conclusion.server.confidence,
            client: conclusion.client.confidence,
        },
        credential_in_clear: connection.credential.map(|kind| kind.as_str().into()),
        cleartext_examined: DirectionBytes { client: connection.examined.0, server: connection.examined.1 },
        capture_complete: connection.incomplete.is_none(),
        capture_reason: connection.incomplete.map(|reason| incomplete(reason).into()),
        tls: connection.settled.as_ref().map(|settled| settled.record(tls_record)),
        findings: Vec::new(),
        authorization: None,
        policy_version: None,
        bytes: connection
            .bytes
            .map(|(client, server)| ByteCounts { client_to_server: client, server_to_client: server }),
    }
}

/// Client's and server's address: each end's own socket if it is here, else as the other end's socket has it.
fn addresses(connection: &Connection) -> (SocketAddr, SocketAddr) {
    const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let local = |role| connection.side(role).map(|side: &Side| side.pair.local);
    let remote = |role| connection.side(role).map(|side: &Side| side.pair.remote);
    let client = local(Role::Client).or(remote(Role::Server)).unwrap_or(NOWHERE);
    let server = local(Role::Server).or(remote(Role::Client)).unwrap_or(NOWHERE);
    (client, server)
}

fn endpoint(address: SocketAddr, side: Option<&Side>, holders: &[Arc<KnownProcess>]) -> EndpointRecord {
    let mut record =
        EndpointRecord { address: bare(address.ip()), port: address.port(), ..EndpointRecord::default() };
    let Some(side) = side else {
        record.process_unknown = Some("remote".into());
        return record;
    };
    record.netns = (side.netns.0 != 0).then_some(side.netns.0);
    record.processes = side
        .holders
        .iter()
        .zip(holders)
        .map(|(holder, known)| HolderRecord {
            process: Arc::clone(&known.record),
            role: holder.role.as_str().into(),
            source: holder.source.as_str().into(),
        })
        .collect();
    let owner = side.owner().and_then(|owner| {
        let index = side.holders.iter().position(|holder| holder == owner)?;
        Some((owner, holders.get(index)?))
    });
    match owner {
        Some((holder, known)) => {
            record.process = Some(Arc::clone(&known.record));
            record.owner_source = Some(holder.source.as_str().into());
            record.workload.clone_from(&known.workload);
            record.process_unknown = known.executable_unknown.map(|reason| reason.as_str().into());
        }
        None => record.process_unknown = Some(side.owner_unknown.as_str().into()),
    }
    record
}

/// An address without its port. Those of IPv4 are many, and put together by hand in a third of the time.
fn bare(address: IpAddr) -> String {
    let IpAddr::V4(address) = address else { return address.to_string() };
    let mut text = String::with_capacity(15);
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// An end of a connection in a capture: no process is known to it.
fn captured(address: SocketAddr) -> EndpointRecord {
    EndpointRecord {
        address: bare(address.ip()),
        port: address.port(),
        process_unknown: Some("replay".into()),
        ..EndpointRecord::default()
    }
}

/// What the client asked for, where the server is something else; and the addresses in between.
fn dialled(connection: &Connection, server: &mut EndpointRecord) {
    let Some(client) = connection.client.as_deref() else { return };
    let own = connection.server.as_deref().map_or(client.pair.remote, |side| side.pair.local);
    if let Some(dialled) = client.dialled
        && dialled != own
    {
        server.dialled_address = Some(dialled.ip().to_string());
        server.dialled_port = Some(dialled.port());
    }
    if client.pair.remote != own && Some(client.pair.remote) != client.dialled {
        server.translated.push(client.pair.remote.to_string());
    }
}

fn certify(
    endpoint: &mut EndpointRecord,
    chain: &[Fingerprint],
    known: &[Arc<CertificateRecord>],
    inherited: Option<&String>,
) {
    endpoint.certificates = chain.iter().map(|fingerprint| hex(&fingerprint.0)).collect();
    let leaf = endpoint.certificates.first();
    endpoint.identity = known
        .first()
        .filter(|first| Some(&first.sha256) == leaf)
        .and_then(|leaf| certificate::identity(leaf));
    if !endpoint.certificates.is_empty() {
        endpoint.inherited_from = inherited.cloned();
    }
}

fn tls_record(facts: &TlsFacts) -> TlsRecord {
    let (client_authentication, outcome) = client_authentication(facts);
    TlsRecord {
        version_offered: facts.version_offered.map(|version| version.name()),
        version: facts.version.map(|version| version.name()),
        cipher_suite: facts.cipher_suite.and_then(tls::cipher_suite_name).map(Text::from),
        cipher_suite_id: facts.cipher_suite.map(code_point),
        group: facts
            .group
            .map(|group| tls::group_name(group).map_or_else(|| code_point(group).into(), Text::from)),
        server_name: facts.server_name.clone(),
        alpn_offered: facts.alpn_offered.clone(),
        alpn: facts.alpn.clone(),
        ja4: facts.ja4.as_ref().map(Ja4::text),
        resumed: match facts.resumption {
            Resumption::No => "no",
            Resumption::SessionId => "session_id",
            Resumption::Ticket => "ticket",
            Resumption::Psk => "psk",
            Resumption::Unknown => "unknown",
        }
        .into(),
        early_data: facts.early_data_sent,
        hello_retry_request: facts.hello_retry_request,
        encrypted_client_hello: facts.encrypted_client_hello.is_some(),
        encrypted_client_hello_form: facts.encrypted_client_hello.map(|form| form.as_str().into()),
        ocsp_staple: facts.ocsp_staple,
        delegated_credential_offered: facts.delegated_credential_offered,
        certificate_compression_offered: facts
            .certificate_compression_offered
            .iter()
            .map(|&algorithm| {
                tls::compression_name(algorithm).map_or_else(|| code_point(algorithm).into(), Text::from)
            })
            .collect(),
        raw_public_key_offered: facts.raw_public_key_offered,
        client_certificate_type: facts.client_certificate_type.map(|kind| kind.name()),
        server_certificate_type: facts.server_certificate_type.map(|kind| kind.name()),
        client_public_key_sha256: facts.client_public_key.map(|key| hex(&key)),
        server_public_key_sha256: facts.server_public_key.map(|key| hex(&key)),
        client_authentication: client_authentication.into(),
        client_authentication_outcome: outcome.map(Text::from),
        alerts: facts.alerts.iter().map(alert).collect(),
        history: facts.history.clone(),
        handshake: match facts.handshake {
            HandshakeState::Complete => "complete",
            HandshakeState::Failed => "failed",
            HandshakeState::Incomplete => "incomplete",
            HandshakeState::MidStream => "mid_stream",
        }
        .into(),
    }
}

/// A code point of an IANA table, such as `0x1301`.
fn code_point(number: u16) -> String {
    ["0x", &hex(&number.to_be_bytes())].concat()
}

fn client_authentication(facts: &TlsFacts) -> (&'static str, Option<&'static str>) {
    let outcome = match facts.client_outcome {
        ClientOutcome::Accepted => "accepted",
        ClientOutcome::Rejected => "rejected",
        ClientOutcome::Unknown => "unknown",
    };
    match facts.client_authentication {
        ClientAuthentication::NotRequested(_) => ("not_requested", None),
        ClientAuthentication::RequestedNoneSent(_) => ("requested_none_sent", Some(outcome)),
        ClientAuthentication::Presented(_) => ("presented", Some(outcome)),
        ClientAuthentication::Unknown(_) => ("unknown", None),
    }
}

fn alert(alert: &tls::Alert) -> AlertRecord {
    AlertRecord {
        from: if alert.from_client { SideName::Client } else { SideName::Server },
        level: match alert.level {
            1 => "warning".into(),
            2 => "fatal".into(),
            other => other.to_string().into(),
        },
        description: tls::alert_name(alert.description)
            .map_or_else(|| alert.description.to_string().into(), Text::from),
    }
}

fn close_reason(reason: CloseReason) -> CloseReasonName {
    match reason {
        CloseReason::Fin => CloseReasonName::Fin,
        CloseReason::Reset => CloseReasonName::Reset,
        CloseReason::Timeout => CloseReasonName::Timeout,
        CloseReason::Unknown => CloseReasonName::Unknown,
    }
}

fn incomplete(reason: IncompleteReason) -> &'static str {
    match reason {
        IncompleteReason::Lost => "lost",
        IncompleteReason::Budget => "budget",
        IncompleteReason::Truncated => "truncated",
        IncompleteReason::MidStream => "mid_stream",
        IncompleteReason::Malformed => "malformed",
        IncompleteReason::Conflicting => "conflicting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{CertificateType, EncryptedClientHello, Version};

    #[test]
    fn what_a_client_offered_is_printed_by_name() {
        let facts = TlsFacts {
            version: Some(Version::Tls13Draft(28)),
            encrypted_client_hello: Some(EncryptedClientHello::OuterOrGrease),
            certificate_compression_offered: vec![2, 9],
            server_certificate_type: Some(CertificateType::RawPublicKey),
            server_public_key: Some([0xab; 32]),
            ..TlsFacts::default()
        };
        let record = tls_record(&facts);
        assert_eq!(record.version.as_deref(), Some("1.3-draft-28"));
        assert!(record.encrypted_client_hello && record.ocsp_staple.is_none());
        assert_eq!(record.encrypted_client_hello_form.as_deref(), Some("outer_or_grease"));
        assert_eq!(record.certificate_compression_offered, ["brotli", "0x0009"]);
        assert_eq!(record.server_certificate_type.as_deref(), Some("raw_public_key"));
        assert_eq!(record.server_public_key_sha256, Some("ab".repeat(32)));
    }

    #[test]
    fn nothing_is_offered_by_a_client_that_was_not_seen() {
        let record = tls_record(&TlsFacts::default());
        assert!(!record.encrypted_client_hello && record.encrypted_client_hello_form.is_none());
        assert_eq!((record.ja4, record.client_certificate_type), (None, None));
    }
}
