//! `countersign.identity/1`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::{IdentityFitRecord, LabelsRecord, Text, VerificationName, WallTime};

/// Value of [`IdentityRecord::schema`].
pub const IDENTITY_SCHEMA: &str = "countersign.identity/1";

/// An identity that workloads of this host presented.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdentityRecord {
    /// [`IDENTITY_SCHEMA`].
    pub schema: Text,
    /// Host name.
    pub host: Option<String>,
    /// As connections name it; null for certificates of which only the fingerprint is remembered.
    pub identity: Option<String>,
    /// Each certificate with each workload that presented it, by workload, the latest first.
    pub presented: Vec<IdentityUseRecord>,
}

/// A certificate that a workload presented.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IdentityUseRecord {
    /// Key of the workload, see `countersign.workload/1`.
    pub workload: String,
    /// Its kind.
    pub kind: Text,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub labels: Option<Arc<LabelsRecord>>,
    /// Lower-case hex SHA-256 of the DER.
    pub sha256: String,
    /// The same of the SubjectPublicKeyInfo.
    pub spki_sha256: Option<String>,
    /// Validity.
    pub not_before: Option<WallTime>,
    /// Validity.
    pub not_after: Option<WallTime>,
    /// Connections in which it was presented by the client.
    pub client: u64,
    /// Connections in which it was presented by the server.
    pub server: u64,
    /// What peers on this host did about it.
    pub verification: BTreeMap<VerificationName, u64>,
    /// Whether the workload may present it: as the daemon found, or as the rules say that are tried.
    pub identity_fit: Option<Arc<IdentityFitRecord>>,
    /// First connection with it.
    pub first_seen: WallTime,
    /// Last one.
    pub last_seen: WallTime,
}
