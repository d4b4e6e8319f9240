//! `countersign.connection/1`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Authentication, CloseReasonName, ConfidenceName, DisagreementName, Encryption, EvidenceName,
    HolderRecord, IdentityFitRecord, LabelsRecord, ProcessRecord, Scope, SideName, Text, VerificationName,
    WallTime, WorkloadRecord,
};

/// Value of [`ConnectionRecord::schema`].
pub const CONNECTION_SCHEMA: &str = "countersign.connection/1";

/// One TCP connection, in one revision.
#[derive(Debug, Clone, PartialEq, Hash, Serialize, Deserialize)]
pub struct ConnectionRecord {
    /// [`CONNECTION_SCHEMA`].
    pub schema: Text,
    /// UUIDv7: unique on this host, sorts by time.
    pub id: String,
    /// Readers keep the highest.
    pub revision: u32,
    /// No further revision will come.
    pub r#final: bool,
    /// First 16 bytes of SHA-256(client_random ‖ server_random), hex: equal on both hosts.
    pub session_id: Option<String>,
    /// Host name.
    pub host: Option<String>,
    /// `/etc/machine-id`.
    pub host_id: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// Version of the agent that wrote this.
    pub agent_version: Option<Text>,
    /// `live` or `replay`.
    pub source: Text,
    /// Name of the capture.
    pub file: Option<Arc<str>>,
    /// First packet seen.
    pub opened: WallTime,
    /// First verdict.
    pub decided: Option<WallTime>,
    /// End seen.
    pub closed: Option<WallTime>,
    /// How it ended.
    pub close_reason: Option<CloseReasonName>,
    /// Where the two ends are.
    pub scope: Scope,
    /// Interface on which it was first seen.
    pub interface: Option<String>,
    /// Who opened.
    pub client: EndpointRecord,
    /// Who accepted.
    pub server: EndpointRecord,
    /// `client`, `server` or both: whose socket is on this host.
    pub observed_from: Vec<SideName>,
    /// `tls`, the application protocol in clear, `unknown`, or `silent`.
    pub protocol: Text,
    /// Protocol that switched to TLS.
    pub upgraded_from: Option<Text>,
    /// How the bytes were protected.
    pub encryption: Encryption,
    /// What was established.
    pub authentication: Authentication,
    /// How it is known.
    pub evidence: EvidenceRecord,
    /// How surely.
    pub confidence: ConfidenceRecord,
    /// Kind of credential that crossed unencrypted.
    pub credential_in_clear: Option<Text>,
    /// How far was looked.
    pub cleartext_examined: DirectionBytes,
    /// All handshake bytes were seen.
    pub capture_complete: bool,
    /// Why not.
    pub capture_reason: Option<Text>,
    /// TLS facts.
    pub tls: Option<Arc<TlsRecord>>,
    /// Codes.
    pub findings: Vec<Text>,
    /// Reserved.
    pub authorization: Option<serde_json::Value>,
    /// What judged it.
    pub policy_version: Option<Arc<str>>,
    /// At close.
    pub bytes: Option<ByteCounts>,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Hash, Default, Serialize, Deserialize)]
pub struct EndpointRecord {
    /// Bare, IPv4-mapped as IPv4.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// What the client asked for, if different (server only).
    pub dialled_address: Option<String>,
    /// The same.
    pub dialled_port: Option<u16>,
    /// Further address:port seen.
    pub translated: Vec<String>,
    /// Cookie of the network namespace.
    pub netns: Option<u64>,
    /// The owner.
    pub process: Option<Arc<ProcessRecord>>,
    /// Why `process` is null.
    pub process_unknown: Option<Text>,
    /// All that held it.
    pub processes: Vec<HolderRecord>,
    /// How the owner is known.
    pub owner_source: Option<Text>,
    /// What the owner belongs to.
    pub workload: Option<Arc<WorkloadRecord>>,
    /// Whose it is, by the file of owners.
    pub labels: Option<Arc<LabelsRecord>>,
    /// Fingerprints, leaf first; only of certificates whose DER was seen.
    pub certificates: Vec<String>,
    /// SPIFFE ID, else first DNS SAN, else subject.
    pub identity: Option<String>,
    /// Id of the connection whose session this one resumes.
    pub inherited_from: Option<String>,
    /// Whether it verified its peer's certificate, where a TLS library of this host showed that.
    pub verification: Option<VerificationName>,
    /// Reserved.
    pub trust: Option<serde_json::Value>,
    /// Whether the certificate that it presented is one that its workload may present.
    pub identity_fit: Option<Arc<IdentityFitRecord>>,
}

/// How the answer is known, for each side.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EvidenceRecord {
    /// For the server's authentication.
    pub server: EvidenceName,
    /// For the client's.
    pub client: EvidenceName,
    /// Why unknown.
    pub reason: Option<Text>,
    /// Which sources disagree.
    pub disagreement: Option<DisagreementName>,
}

/// How surely, for each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ConfidenceRecord {
    /// For the server's authentication.
    pub server: Option<ConfidenceName>,
    /// For the client's.
    pub client: Option<ConfidenceName>,
}

/// Bytes per sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct DirectionBytes {
    /// Sent by the client.
    pub client: u64,
    /// Sent by the server.
    pub server: u64,
}

/// Payload bytes at close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ByteCounts {
    /// Sent by the client.
    pub client_to_server: u64,
    /// Sent by the server.
    pub server_to_client: u64,
}

/// TLS facts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TlsRecord {
    /// Highest offered.
    pub version_offered: Option<Text>,
    /// Chosen.
    pub version: Option<Text>,
    /// IANA name.
    pub cipher_suite: Option<Text>,
    /// `0x1301`.
    pub cipher_suite_id: Option<String>,
    /// IANA name.
    pub group: Option<Text>,
    /// SNI.
    pub server_name: Option<String>,
    /// Offered by the client.
    pub alpn_offered: Vec<String>,
    /// Chosen, where in clear.
    pub alpn: Option<String>,
    /// Fingerprint of the client's first ClientHello (JA4, TLS client).
    pub ja4: Option<String>,
    /// `no` `session_id` `ticket` `psk` `unknown`.
    pub resumed: Text,
    /// Early data was sent.
    pub early_data: bool,
    /// The server asked for another hello.
    pub hello_retry_request: bool,
    /// Offered by the client: real or GREASE, which nobody between the ends can tell apart.
    pub encrypted_client_hello: bool,
    /// In what form: `outer_or_grease` `inner` `server_name` (the older draft that encrypts the name alone) `unrecognised`.
    #[serde(default)]
    pub encrypted_client_hello_form: Option<Text>,
    /// A certificate status came with the server's certificate; null where it is encrypted (1.3) or the server's flight did not end.
    pub ocsp_staple: Option<bool>,
    /// The client would take a delegated credential (RFC 9345); whether it got one is encrypted.
    #[serde(default)]
    pub delegated_credential_offered: bool,
    /// Certificate compression that the client offered (RFC 8879): `zlib` `brotli` `zstd` or `0x0004`; whether it was used is encrypted.
    #[serde(default)]
    pub certificate_compression_offered: Vec<Text>,
    /// The client offered raw public keys in place of certificates, for either side (RFC 7250).
    #[serde(default)]
    pub raw_public_key_offered: bool,
    /// What the client was to show, where the server chose it in clear (≤ 1.2): `x509` `raw_public_key` `openpgp` or a number; null means X.509 or encrypted.
    #[serde(default)]
    pub client_certificate_type: Option<Text>,
    /// The same of the server.
    #[serde(default)]
    pub server_certificate_type: Option<Text>,
    /// SHA-256 of the SubjectPublicKeyInfo that the client showed in place of a certificate; equals `spki_sha256` of a certificate with that key.
    #[serde(default)]
    pub client_public_key_sha256: Option<String>,
    /// The same of the server.
    #[serde(default)]
    pub server_public_key_sha256: Option<String>,
    /// `not_requested` `requested_none_sent` `presented` `unknown`.
    pub client_authentication: Text,
    /// `accepted` `rejected` `unknown`; null where there is nothing to accept.
    pub client_authentication_outcome: Option<Text>,
    /// In clear.
    pub alerts: Vec<AlertRecord>,
    /// One letter per message.
    pub history: String,
    /// `complete` `failed` `incomplete` `mid_stream`.
    pub handshake: Text,
}

/// An alert in clear.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Who sent it.
    pub from: SideName,
    /// `warning`, `fatal` or the number.
    pub level: Text,
    /// IANA name or the number.
    pub description: Text,
}
