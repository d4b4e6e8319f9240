//! `countersign.finding/1` and `countersign.gap/1`.

use serde::{Deserialize, Serialize};

use super::{Severity, Text, WallTime};

/// Value of [`FindingRecord::schema`].
pub const FINDING_SCHEMA: &str = "countersign.finding/1";
/// Value of [`GapRecord::schema`].
pub const GAP_SCHEMA: &str = "countersign.gap/1";

/// What a policy says about facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingRecord {
    /// [`FINDING_SCHEMA`].
    pub schema: Text,
    /// The same for the same code and subject.
    pub id: String,
    /// Stable code.
    pub code: Text,
    /// How bad.
    pub severity: Severity,
    /// Host name.
    pub host: Option<String>,
    /// Id of the connection it is about.
    pub connection: Option<String>,
    /// Fingerprint of the certificate it is about.
    pub certificate: Option<String>,
    /// Workload it is about.
    pub workload: Option<String>,
    /// `client → server:port` it is about.
    pub edge: Option<String>,
    /// First time.
    pub first_seen: WallTime,
    /// Last time.
    pub last_seen: WallTime,
    /// Since when it no longer holds.
    pub resolved: Option<WallTime>,
    /// How often.
    pub count: u64,
    /// One sentence with the actual values.
    pub summary: String,
    /// What to do.
    pub remedy: Text,
    /// Controls of NIST CSF 2.0, SP 800-207, OWASP NHI that it concerns.
    pub controls: Vec<Text>,
    /// Set apart by configuration.
    pub exception: Option<ExceptionRecord>,
}

/// Who took the responsibility for a finding, why and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExceptionRecord {
    /// Who.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// RFC 3339 date.
    pub expires: String,
}

/// What was not seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapRecord {
    /// [`GAP_SCHEMA`].
    pub schema: Text,
    /// Begin; null if unknown.
    pub from: Option<WallTime>,
    /// End.
    pub to: WallTime,
    /// `ring_full`, `agent_down`, `table_full`, …
    pub cause: String,
    /// How many events; null if unknown.
    pub lost: Option<u64>,
}
