//! `countersign.event/1`, and `countersign.change/1` with its summary.

use serde::{Deserialize, Serialize};

use super::{Authentication, SideName, Text, WallTime};

/// Value of [`EventRecord::schema`].
pub const EVENT_SCHEMA: &str = "countersign.event/1";
/// Value of [`ChangeRecord::schema`].
pub const CHANGE_SCHEMA: &str = "countersign.change/1";
/// Value of [`ChangeSummaryRecord::schema`].
pub const CHANGE_SUMMARY_SCHEMA: &str = "countersign.change_summary/1";

/// An edge by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EdgeNameRecord {
    /// Who opens: `workload:KEY`, else `identity:NAME`, else `address:A`, or `external`.
    pub client: String,
    /// Who accepts.
    pub server: String,
    /// Port of the server.
    pub port: u16,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventName {
    /// A workload was seen for the first time, or presented a certificate for the first time.
    FirstSeen,
    /// A workload presented another certificate than before.
    Rotation,
    /// An edge established less than before.
    Regression,
    /// The last time.
    LastSeen,
}

/// Something that happened to a workload, an identity or a certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// [`EVENT_SCHEMA`].
    pub schema: Text,
    /// What.
    pub kind: EventName,
    /// When.
    pub at: WallTime,
    /// That is known to the hour only.
    pub to_the_hour: bool,
    /// On which edge; null where the timeline is not one of edges.
    #[serde(default)]
    pub edge: Option<EdgeNameRecord>,
    /// To whom: `workload:KEY`, else `identity:NAME`, else `address:A`; null for regressions, and for the first and last sight of an edge.
    pub node: Option<String>,
    /// In which role it presented the certificate.
    pub role: Option<SideName>,
    /// What the certificate names.
    pub identity: Option<String>,
    /// Fingerprint of the certificate; of a rotation, of the new one.
    pub certificate: Option<String>,
    /// Of a rotation.
    pub rotation: Option<RotationRecord>,
    /// Of a regression.
    pub regression: Option<RegressionRecord>,
}

/// One certificate takes the place of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationRecord {
    /// Fingerprint of the old certificate.
    pub replaces: String,
    /// What the old one names.
    pub replaces_identity: Option<String>,
    /// Last use of the old one.
    pub last_use: WallTime,
    /// How long both were in use; negative: neither was for so long.
    pub overlap_seconds: i64,
    /// From notBefore of the new one to its first use here; null where that is not known.
    pub lag_seconds: Option<i64>,
    /// The old one was used last before the new one was; else it is not replaced yet, or others of the workload have it.
    pub completed: bool,
}

/// An edge establishes less than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegressionRecord {
    /// Which.
    pub edge: EdgeNameRecord,
    /// What it established before.
    pub from: Authentication,
    /// What it established then.
    pub to: Authentication,
    /// When it established as much as before again; null if it has not.
    pub back: Option<WallTime>,
    /// It goes back and forth more often than is listed.
    pub cut: bool,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeName {
    /// It establishes less.
    Weaker,
    /// It establishes as much in another way, or it is not known whether more or less.
    Changed,
    /// It establishes more.
    Stronger,
    /// It was not there before.
    Appeared,
    /// It is not there any more.
    Vanished,
}

/// A difference between two times; exactly one of `edge`, `identity` and `certificate` says of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRecord {
    /// [`CHANGE_SCHEMA`].
    pub schema: Text,
    /// What changed.
    pub change: ChangeName,
    /// An edge.
    pub edge: Option<EdgeNameRecord>,
    /// An identity that was presented.
    pub identity: Option<String>,
    /// Fingerprint of a leaf that was presented.
    pub certificate: Option<String>,
    /// As it was at the first time; null if it was not seen in the window before.
    pub before: Option<StateRecord>,
    /// The same at the second time.
    pub after: Option<StateRecord>,
}

/// How something was at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRecord {
    /// What the last connection of the edge established of which that is known; null for identities and certificates.
    pub authentication: Option<Authentication>,
    /// When a connection was open last, at that time or before.
    pub last_seen: WallTime,
    /// That is known to the hour only.
    pub to_the_hour: bool,
}

/// All differences in numbers; comes before them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSummaryRecord {
    /// [`CHANGE_SUMMARY_SCHEMA`].
    pub schema: Text,
    /// The first time.
    pub before: WallTime,
    /// The second time.
    pub after: WallTime,
    /// What was not seen for so long before a time is taken to be gone.
    pub window_seconds: u64,
    /// Edges at the first time.
    pub edges_before: u64,
    /// Edges at the second time.
    pub edges_after: u64,
    /// Differences.
    pub changes: u64,
    /// Of those, how many are left out for the limit.
    pub left_out: u64,
    /// Times within both windows and between in which something was not seen.
    pub gaps: u64,
    /// Looks for connections that outlived later ones which did not come to the first: as in `countersign.blast_radius_summary/1`.
    #[serde(default)]
    pub looked_back_in_part: u64,
}
