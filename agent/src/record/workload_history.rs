//! `countersign.workload_history/1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{IdentityFitRecord, LabelsRecord, RoleRecord, Scope, Text, WallTime, WorkloadRecord};

/// Value of [`WorkloadHistoryRecord::schema`].
pub const WORKLOAD_HISTORY_SCHEMA: &str = "countersign.workload_history/1";

/// A workload of the history, with what its connections said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadHistoryRecord {
    /// [`WORKLOAD_HISTORY_SCHEMA`].
    pub schema: Text,
    /// Names it among the workloads of its host, see [`WorkloadRecord::key`].
    pub key: String,
    /// As it was named last.
    pub workload: WorkloadRecord,
    /// Whose it was when it was seen last, by the file of owners as it was then.
    pub labels: Option<LabelsRecord>,
    /// First connection of the time that was asked for; without one, the first that there ever was.
    pub first_seen: WallTime,
    /// When one of its connections was seen last.
    pub last_seen: WallTime,
    /// Connections in which it was the client, as far as they are kept, one by one or counted.
    pub client: RoleRecord,
    /// Connections in which it was the server.
    pub server: RoleRecord,
    /// Its connections by scope; one with itself counts once, as below.
    pub scopes: BTreeMap<Scope, u64>,
    /// Its connections by finding.
    pub findings: BTreeMap<Text, u64>,
    /// What it presented, the latest first, at most [`WorkloadHistoryRecord::MAX_PRESENTED`].
    pub presented: Vec<ShownRecord>,
    /// How much more it presented than is listed.
    pub presented_left_out: u64,
}

impl WorkloadHistoryRecord {
    /// Identities with their certificates that are named: those of a month that are renewed each day.
    pub const MAX_PRESENTED: usize = 32;
}

/// An identity and its certificate, as a workload presented them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownRecord {
    /// As connections name it.
    pub identity: Option<String>,
    /// Fingerprint of the leaf; null on resumed sessions, which have the identity alone.
    pub certificate: Option<String>,
    /// Until when the leaf is valid; null where that is not known.
    pub not_after: Option<WallTime>,
    /// Connections in which it was presented by the client.
    pub client: u64,
    /// Connections in which it was presented by the server.
    pub server: u64,
    /// Whether the workload may present it, by the rules as they were then.
    pub identity_fit: Option<IdentityFitRecord>,
    /// First connection with it.
    pub first_seen: WallTime,
    /// Last one.
    pub last_seen: WallTime,
}
