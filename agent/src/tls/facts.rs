//! What the wire said about a TLS connection: facts only, each with its unknowns typed.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Ja4, Version};

/// Everything seen of one TLS connection so far.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TlsFacts {
    /// Highest version that the client offered (supported_versions, else legacy_version).
    pub version_offered: Option<Version>,
    /// Version of the ServerHello.
    pub version: Option<Version>,
    /// Cipher suite of the ServerHello (IANA code point).
    pub cipher_suite: Option<u16>,
    /// Named group of the key exchange (IANA code point): key_share, or ServerKeyExchange.
    pub group: Option<u16>,
    /// Server name indication, as sent (RFC 6066); may hold any bytes that are UTF-8, replaced otherwise.
    pub server_name: Option<String>,
    /// Application protocols that the client offered, in its order.
    pub alpn_offered: Vec<String>,
    /// The one the server chose in clear (TLS 1.3 encrypts it).
    pub alpn: Option<String>,
    /// Whether this handshake resumes another.
    pub resumption: Resumption,
    /// The client offered early data (RFC 8446 section 4.2.10).
    pub early_data_offered: bool,
    /// The client sent early data: encrypted records before it had the ServerHello.
    pub early_data_sent: bool,
    /// The server asked for another ClientHello.
    pub hello_retry_request: bool,
    /// The client offered to encrypt its hello or the name in it, and in what form.
    pub encrypted_client_hello: Option<EncryptedClientHello>,
    /// Fingerprint of the first ClientHello: the second one is what the server made of it. `None` for the format of
    /// SSLv2, whose cipher specs the fingerprint has no place for.
    pub ja4: Option<Ja4>,
    /// The client offered to take a delegated credential for the server's key (RFC 9345). Whether one was used is
    /// encrypted.
    pub delegated_credential_offered: bool,
    /// Certificate compression algorithms that the client offered (IANA code points, RFC 8879), at most
    /// [`MAX_COMPRESSIONS`]. Whether one was used is encrypted.
    pub certificate_compression_offered: Vec<u16>,
    /// A CertificateStatus was seen (≤ 1.2; RFC 6066 section 8); false once the server's flight ended without one.
    /// `None`: it did not come to that, or is encrypted (1.3).
    pub ocsp_staple: Option<bool>,
    /// The client offered raw public keys in place of certificates, for either side (RFC 7250).
    pub raw_public_key_offered: bool,
    /// What the server chose for the client to show, where that is in clear (≤ 1.2); without a choice it is X.509.
    pub client_certificate_type: Option<CertificateType>,
    /// The same for the server itself.
    pub server_certificate_type: Option<CertificateType>,
    /// SHA-256 of the SubjectPublicKeyInfo that the client showed in place of a certificate (≤ 1.2).
    pub client_public_key: Option<[u8; 32]>,
    /// The same of the server.
    pub server_public_key: Option<[u8; 32]>,
    /// First 16 bytes of SHA-256(client_random ‖ server_random), of the last ClientHello before and the first real ServerHello.
    pub session_id: Option<[u8; 16]>,
    /// DER of the certificates that the client sent in clear, leaf first.
    pub client_chain: Vec<Bytes>,
    /// DER of the certificates that the server sent in clear, leaf first.
    pub server_chain: Vec<Bytes>,
    /// Whether the server authenticates with a certificate in this handshake.
    pub server_authentication: ServerAuthentication,
    /// Whether the client did.
    pub client_authentication: ClientAuthentication,
    /// What became of it.
    pub client_outcome: ClientOutcome,
    /// Alerts in clear, in order, at most [`MAX_ALERTS`].
    pub alerts: Vec<Alert>,
    /// One letter per message, upper case from the client, at most [`MAX_HISTORY`] letters.
    pub history: String,
    /// How far the handshake came.
    pub handshake: HandshakeState,
    /// Why facts may be missing, if bytes were.
    pub incomplete: Option<IncompleteReason>,
    /// Session handles for linking resumptions (TLS ≤ 1.2), hashed: what the client offered and the server took.
    pub session_resumed: Option<SessionHandle>,
    /// The session ID that the client offered and the server echoed, which it may do for a ticket too.
    pub session_echoed: Option<SessionHandle>,
    /// What the server issued in clear: session ID, ticket, or both.
    pub session_issued: Vec<SessionHandle>,
}

/// Bound on [`TlsFacts::alerts`]: a handshake has one or two, a hostile peer any number.
pub const MAX_ALERTS: usize = 8;
/// Bound on [`TlsFacts::history`]: full handshakes with client authentication need about 20.
pub const MAX_HISTORY: usize = 64;

/// SHA-256 of a session ID or ticket: enough to link, useless to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionHandle(pub [u8; 32]);

/// Bound on [`TlsFacts::certificate_compression_offered`]: three algorithms are registered.
pub const MAX_COMPRESSIONS: usize = 8;

/// How a client offered to encrypt its hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncryptedClientHello {
    /// An outer hello: with another hello encrypted in it, or GREASE. They are made to look alike (RFC 9849 section
    /// 6.2); whether the server took it is encrypted too.
    OuterOrGrease,
    /// An inner hello, sent on in clear by whoever decrypted it.
    Inner,
    /// Only the name: encrypted_server_name of the drafts before (draft-ietf-tls-esni-06), or GREASE.
    ServerName,
    /// The extension, of a type that is neither outer nor inner.
    Unrecognised,
}

impl EncryptedClientHello {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            EncryptedClientHello::OuterOrGrease => "outer_or_grease",
            EncryptedClientHello::Inner => "inner",
            EncryptedClientHello::ServerName => "server_name",
            EncryptedClientHello::Unrecognised => "unrecognised",
        }
    }
}

/// What stands in a Certificate message (IANA TLS Certificate Types).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateType {
    /// A chain of certificates, as ever.
    X509,
    /// RFC 6091.
    OpenPgp,
    /// A SubjectPublicKeyInfo (RFC 7250).
    RawPublicKey,
    /// Any other code point.
    Other(u8),
}

impl CertificateType {
    /// From its code point.
    pub(super) fn from_wire(kind: u8) -> CertificateType {
        match kind {
            0 => CertificateType::X509,
            1 => CertificateType::OpenPgp,
            2 => CertificateType::RawPublicKey,
            other => CertificateType::Other(other),
        }
    }

    /// As it is printed.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            CertificateType::X509 => "x509".into(),
            CertificateType::OpenPgp => "openpgp".into(),
            CertificateType::RawPublicKey => "raw_public_key".into(),
            CertificateType::Other(other) => other.to_string().into(),
        }
    }
}

/// How a handshake resumes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Resumption {
    /// Not yet visible.
    #[default]
    Unknown,
    /// A full handshake.
    No,
    /// By session ID (≤ 1.2).
    SessionId,
    /// By ticket (RFC 5077, ≤ 1.2).
    Ticket,
    /// By pre-shared key (1.3): a resumption or an external key.
    Psk,
}

/// How the server proves itself in this handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerAuthentication {
    /// Its certificate was seen in clear.
    Certificate,
    /// Its key was seen in clear, without a certificate (RFC 7250): whose it is, the client has to know.
    RawPublicKey,
    /// TLS 1.3 without PSK: it must send one (RFC 8446 section 4.4.2), and the handshake went on.
    Inferred,
    /// Anonymous key exchange, or a suite without certificates.
    Anonymous,
    /// By the pre-shared key or session only.
    Resumed,
    /// A PSK suite of TLS ≤ 1.2 (RFC 4279).
    ExternalPsk,
    /// Not visible.
    Unknown(UnknownReason),
}

impl Default for ServerAuthentication {
    fn default() -> Self {
        ServerAuthentication::Unknown(UnknownReason::Incomplete)
    }
}

/// Whether the client authenticated with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAuthentication {
    /// The server did not ask.
    NotRequested(Sight),
    /// The server asked, the client had none.
    RequestedNoneSent(Sight),
    /// The client sent one.
    Presented(Sight),
    /// Not known.
    Unknown(UnknownReason),
}

impl Default for ClientAuthentication {
    fn default() -> Self {
        ClientAuthentication::Unknown(UnknownReason::Incomplete)
    }
}

/// How a fact was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    /// In clear.
    Clear,
    /// From record sizes that only the observed side chose: could be imitated.
    InferredMedium,
    /// From record sizes of which some were chosen by the other side.
    InferredHigh,
}

/// Whether the server went on after the client authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientOutcome {
    /// Not known, or not known yet.
    #[default]
    Unknown,
    /// The server went on.
    Accepted,
    /// The server ended the connection with an alert.
    Rejected,
}

/// How far a handshake came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HandshakeState {
    /// Still going on, or the connection ended in the middle without an alert.
    #[default]
    Incomplete,
    /// Both sides finished, as far as can be seen.
    Complete,
    /// Ended by an alert or refused.
    Failed,
    /// Its beginning was not seen.
    MidStream,
}

/// An alert in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alert {
    /// Sent by the client.
    pub from_client: bool,
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// IANA code point.
    pub description: u8,
}

/// Why bytes are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IncompleteReason {
    /// Events were lost or TCP had a hole that was never filled.
    Lost,
    /// The budget ended first.
    Budget,
    /// A message was longer than the bound on what is kept.
    Truncated,
    /// The beginning was not seen.
    MidStream,
    /// A message did not parse.
    Malformed,
    /// Two copies of the same bytes differed.
    Conflicting,
}

impl TlsFacts {
    /// Bytes of memory that they take beside themselves, as far as a peer decides on them.
    pub fn held(&self) -> usize {
        let chains = [&self.client_chain, &self.server_chain];
        let certificates = |chain: &Vec<Bytes>| {
            chain.capacity() * size_of::<Bytes>() + chain.iter().map(Bytes::len).sum::<usize>()
        };
        let names = [&self.server_name, &self.alpn].into_iter().flatten().chain(&self.alpn_offered);
        chains.map(certificates).iter().sum::<usize>()
            + self.alpn_offered.capacity() * size_of::<String>()
            + names.map(String::capacity).sum::<usize>()
    }

    /// A later handshake inside the connection could authenticate a client that this one did not (TLS ≤ 1.2).
    pub fn is_open_to_renegotiation(&self) -> bool {
        matches!(
            self.client_authentication,
            ClientAuthentication::NotRequested(_)
                | ClientAuthentication::RequestedNoneSent(_)
                | ClientAuthentication::Unknown(UnknownReason::ResumptionOriginNotSeen)
        )
    }

    /// There was such a handshake: its messages are encrypted. A client that had shown its certificate has shown it.
    pub fn note_renegotiation(&mut self) {
        if self.is_open_to_renegotiation() {
            self.client_authentication = ClientAuthentication::Unknown(UnknownReason::Renegotiation);
        }
    }
}

/// Why a fact is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnknownReason {
    /// The handshake did not get there (yet).
    Incomplete,
    /// The beginning was not seen.
    MidStream,
    /// Bytes are missing.
    Lost,
    /// The budget ended first.
    Budget,
    /// Larger than the bound on what is kept.
    Truncated,
    /// A message did not parse.
    Malformed,
    /// Two copies of the same bytes differed: which one the receiver took cannot be known.
    Conflicting,
    /// TLS 1.3 PSK: ticket or external key, and of what origin, is encrypted.
    ResumptionOriginNotVisible,
    /// TLS ≤ 1.2 resumption of a session that was not seen.
    ResumptionOriginNotSeen,
    /// Record sizes fit no rule: padding or an implementation that is not known.
    PaddingOrUnrecognised,
    /// Client and server flights contradict each other.
    Contradiction,
    /// Early data whose end cannot be placed.
    EarlyData,
    /// A cipher suite whose record overhead is not known.
    UnknownSuite,
    /// A version whose encrypted part is not read: SSLv2, drafts of TLS 1.3 before 22.
    VersionNotEvaluated,
    /// Something in place of an X.509 chain that is not read (OpenPGP).
    CertificateType,
    /// Renegotiation hides what followed (TLS ≤ 1.2).
    Renegotiation,
    /// The server has not answered the client's certificate yet, or its answer cannot be told.
    OutcomeNotVisible,
    /// Traffic that never reached the hooks.
    Bypassed,
    /// A protocol that protects itself in its own way; its authentication is not evaluated.
    OtherProtocol,
    /// TLS follows a protocol's opening in clear of which the switch was not seen to be agreed.
    SwitchNotSeen,
    /// Bytes that are no TLS and match no known protocol: they may be anything.
    ProtocolNotRecognised,
    /// The wire and a TLS library of this host say different things, or two libraries do.
    EvidenceDisagrees,
}

impl UnknownReason {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            UnknownReason::Incomplete => "incomplete",
            UnknownReason::MidStream => "mid_stream",
            UnknownReason::Lost => "lost",
            UnknownReason::Budget => "budget",
            UnknownReason::Truncated => "truncated",
            UnknownReason::Malformed => "malformed",
            UnknownReason::Conflicting => "conflicting",
            UnknownReason::ResumptionOriginNotVisible => "resumption_origin_not_visible",
            UnknownReason::ResumptionOriginNotSeen => "resumption_origin_not_seen",
            UnknownReason::PaddingOrUnrecognised => "padding_or_unrecognised",
            UnknownReason::Contradiction => "contradiction",
            UnknownReason::EarlyData => "early_data",
            UnknownReason::UnknownSuite => "unknown_suite",
            UnknownReason::VersionNotEvaluated => "version_not_evaluated",
            UnknownReason::CertificateType => "certificate_type",
            UnknownReason::Renegotiation => "renegotiation",
            UnknownReason::OutcomeNotVisible => "outcome_not_visible",
            UnknownReason::Bypassed => "bypassed",
            UnknownReason::OtherProtocol => "other_protocol",
            UnknownReason::SwitchNotSeen => "switch_not_seen",
            UnknownReason::ProtocolNotRecognised => "protocol_not_recognised",
            UnknownReason::EvidenceDisagrees => "evidence_disagrees",
        }
    }
}
