//! `countersign.subject/1`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ProcessRecord, RoleRecord, Text, WallTime};

/// Value of [`SubjectRecord::schema`].
pub const SUBJECT_SCHEMA: &str = "countersign.subject/1";

/// What the history knows of whom or what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectRecord {
    /// [`SUBJECT_SCHEMA`].
    pub schema: Text,
    /// As it was typed.
    pub subject: String,
    /// What it was taken to be, each of which is known: `address` `address_and_port` `pid` `executable` `workload` `identity` `server_name` `serial`
    /// `fingerprint` `key` `session_id` `connection`.
    pub understood_as: Vec<Text>,
    /// Connections that are kept; null where counting them would take too long.
    pub connections: Option<u64>,
    /// Those in which it was at the client's end.
    pub client: RoleRecord,
    /// Those in which it was at the server's end.
    pub server: RoleRecord,
    /// Its connections by finding.
    pub findings: BTreeMap<Text, u64>,
    /// Addresses of its ends, at most [`SubjectRecord::MAX_NAMES`], as the following.
    pub addresses: Vec<String>,
    /// Keys of workloads at its ends.
    pub workloads: Vec<String>,
    /// Owners of its ends, by the file of owners.
    pub owners: Vec<String>,
    /// Identities that its ends presented.
    pub identities: Vec<String>,
    /// Certificates of its ends.
    pub certificates: Vec<String>,
    /// Who was at the other end, as in `countersign.edge/1`.
    pub peers: Vec<String>,
    /// Processes that it is, the latest first; of a workload or an address none are listed.
    pub processes: Vec<ProcessRecord>,
    /// Names that found no room in the lists.
    pub left_out: u64,
    /// First connection that there ever was; null where they are not counted.
    pub first_seen: Option<WallTime>,
    /// Last one.
    pub last_seen: Option<WallTime>,
}

impl SubjectRecord {
    /// Names in each list.
    pub const MAX_NAMES: usize = 32;
}
