//! `countersign.certificate/1`.

use serde::{Deserialize, Serialize};

use super::{Text, WallTime};

/// Value of [`CertificateRecord::schema`].
pub const CERTIFICATE_SCHEMA: &str = "countersign.certificate/1";

/// One certificate, printed the first time it is met.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// [`CERTIFICATE_SCHEMA`].
    pub schema: String,
    /// Lower-case hex SHA-256 of the DER.
    pub sha256: String,
    /// The same of the SubjectPublicKeyInfo.
    pub spki_sha256: Option<String>,
    /// RFC 4514.
    pub subject: Option<String>,
    /// RFC 4514.
    pub issuer: Option<String>,
    /// Hex, as encoded.
    pub serial: Option<String>,
    /// Validity.
    pub not_before: Option<WallTime>,
    /// Validity.
    pub not_after: Option<WallTime>,
    /// Subject alternative names.
    pub san: SubjectAlternativeNames,
    /// The SPIFFE ID, if the certificate keeps the profile of those that carry one (X.509-SVID).
    pub spiffe_id: Option<String>,
    /// Why a certificate that names a SPIFFE ID has no claim to it.
    #[serde(default)]
    pub svid_problem: Option<Text>,
    /// `rsa`, `ec`, `ed25519`, … or the OID.
    pub key_algorithm: Option<String>,
    /// Size of the key in bits.
    pub key_bits: Option<u32>,
    /// Name, or OID.
    pub signature_algorithm: Option<String>,
    /// basicConstraints cA.
    pub is_ca: Option<bool>,
    /// Subject equals issuer, and the key identifiers agree where both are present.
    pub self_signed: Option<bool>,
    /// RFC 5280 section 4.2.1.3 names (`digitalSignature`, …).
    pub key_usage: Vec<String>,
    /// RFC 5280 section 4.2.1.12 names (`serverAuth`, …) or OIDs.
    pub extended_key_usage: Vec<String>,
    /// Hex.
    pub authority_key_id: Option<String>,
    /// Hex.
    pub subject_key_id: Option<String>,
    /// URIs.
    pub crl_distribution_points: Vec<String>,
    /// URIs.
    pub ocsp_responders: Vec<String>,
    /// Its bytes were cut: no fingerprint was taken of the whole.
    pub truncated: bool,
    /// Why it did not parse; then only the fingerprint and what could be read are given.
    pub parse_error: Option<String>,
    /// From history.
    pub first_seen: Option<WallTime>,
    /// From history.
    pub last_seen: Option<WallTime>,
    /// `client`, `server`: how it was used.
    pub roles: Vec<String>,
    /// Keys of workloads that presented it, at most [`CertificateRecord::MAX_WORKLOADS`]; from history.
    #[serde(default)]
    pub workloads: Vec<String>,
    /// Connections in which it was presented, as far as they are kept; from history.
    #[serde(default)]
    pub connections: Option<u64>,
    /// Who answers for its identity, by the file of owners.
    pub owner: Option<String>,
    /// What its identity is for, by the same.
    pub purpose: Option<String>,
    /// Reserved.
    pub revocation: Option<serde_json::Value>,
    /// Reserved.
    pub replaces: Option<String>,
    /// Reserved.
    pub replaced_by: Option<String>,
}

impl CertificateRecord {
    /// Workloads that are named.
    pub const MAX_WORKLOADS: usize = 32;
}

/// SANs by kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubjectAlternativeNames {
    /// dNSName.
    pub dns: Vec<String>,
    /// uniformResourceIdentifier.
    pub uri: Vec<String>,
    /// iPAddress.
    pub ip: Vec<String>,
    /// rfc822Name.
    pub email: Vec<String>,
    /// How many are of other kinds (otherName, directoryName, registeredID, …), which are not read.
    #[serde(default)]
    pub unread: u32,
}
