//! `countersign.edge/1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Authentication, ByteCounts, Scope, Text, WallTime, WorkloadRecord};

/// Value of [`EdgeRecord::schema`].
pub const EDGE_SCHEMA: &str = "countersign.edge/1";

/// Who reached whom, at which port, how often and how authenticated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeRecord {
    /// [`EDGE_SCHEMA`].
    pub schema: Text,
    /// Who opened.
    pub client: NodeRecord,
    /// Who accepted.
    pub server: NodeRecord,
    /// The server's port.
    pub port: u16,
    /// Connections of the time that was asked for, as far as they are kept, one by one or counted.
    pub connections: u64,
    /// The same by what was established.
    pub authentication: BTreeMap<Authentication, u64>,
    /// The same by where the ends are.
    pub scopes: BTreeMap<Scope, u64>,
    /// The same by finding.
    pub findings: BTreeMap<Text, u64>,
    /// Payload bytes of those that have ended.
    pub bytes: ByteCounts,
    /// First of them; without a time in the question, the first that there ever was.
    pub first_seen: WallTime,
    /// Last of them.
    pub last_seen: WallTime,
}

/// An end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// `workload:KEY`, else `identity:NAME`, else `address:A`; `external` for clients from elsewhere of whom neither is known.
    pub key: String,
    /// What it belongs to, as it was named last.
    pub workload: Option<WorkloadRecord>,
}
