//! `countersign.blast_radius/1` and its summary.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Authentication, Text, VerificationName, WallTime};

/// Value of [`BlastRadiusRecord::schema`].
pub const BLAST_RADIUS_SCHEMA: &str = "countersign.blast_radius/1";
/// Value of [`BlastRadiusSummaryRecord::schema`].
pub const BLAST_RADIUS_SUMMARY_SCHEMA: &str = "countersign.blast_radius_summary/1";

/// What somebody has to do with the subject of a blast radius.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationName {
    /// Presented one of its certificates.
    Holds,
    /// Was reached with it, or from there on.
    Reached,
    /// Could reach who presented it as a server.
    ReachedBy,
}

/// Somebody within the blast radius of a certificate, an identity or an issuer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlastRadiusRecord {
    /// [`BLAST_RADIUS_SCHEMA`].
    pub schema: Text,
    /// What it has to do with the subject.
    pub relation: RelationName,
    /// Who: `workload:KEY`, else `identity:NAME`, else `address:A`; `external` for all clients from elsewhere.
    pub node: String,
    /// Connections of the way; 0 for those who hold it.
    pub distance: u32,
    /// When it could be reached first, by whatever way; of those who hold it, when they presented it first.
    pub arrival: Option<WallTime>,
    /// Of those who could reach the subject: the last time from which they still could, by whatever way.
    pub departure: Option<WallTime>,
    /// That time is known to the hour only: connections on the way are only counted any more.
    pub to_the_hour: bool,
    /// It stands for everybody elsewhere.
    pub external: bool,
    /// What the connection on the way that is nearest to it established; null for those who hold it.
    pub authentication: Option<Authentication>,
    /// The way that arrives first (or leaves last), in the order in which it goes.
    pub path: Vec<StepRecord>,
    /// Its own connections on which the subject was presented, whatever the way; null if there are none.
    pub direct: Option<DirectRecord>,
}

/// A connection of a way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Who opened it.
    pub client: String,
    /// Who accepted it.
    pub server: String,
    /// Port of the server.
    pub port: u16,
    /// When it served the way: it was opened then, or was open before.
    pub at: WallTime,
    /// That time is known to the hour only.
    pub to_the_hour: bool,
    /// What it established.
    pub authentication: Authentication,
    /// Its id; null if it was open before, or is only counted any more.
    pub connection: Option<String>,
}

/// Connections on which the subject was presented.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DirectRecord {
    /// All that are kept, by what they established; also of those outside of the period that was asked for.
    pub authentication: BTreeMap<Authentication, u64>,
    /// What the peer did about the certificate, where a TLS library of this host showed that.
    pub verification: BTreeMap<VerificationName, u64>,
}

/// A blast radius in numbers; comes before its records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlastRadiusSummaryRecord {
    /// [`BLAST_RADIUS_SUMMARY_SCHEMA`].
    pub schema: Text,
    /// As it was asked.
    pub subject: String,
    /// What it was found to be: `identity` `alternative_name` `subject` `certificate` `key` `issuer`.
    pub understood_as: Vec<Text>,
    /// Fingerprints of the certificates that are meant, at most [`BlastRadiusSummaryRecord::MAX_CERTIFICATES`].
    pub certificates: Vec<String>,
    /// How many they are.
    pub certificate_count: u64,
    /// Who presented it.
    pub holders: u64,
    /// Who was reached with it, perhaps sooner by way of others.
    pub reached_directly: u64,
    /// Who could be reached from there on.
    pub reached_onwards: u64,
    /// Who connected to a server that presented it.
    pub reached_by_directly: u64,
    /// Who could reach one of those before.
    pub reached_by_onwards: u64,
    /// Connections on which it was presented in vain: they established nothing, and do not count as reaching.
    pub refused: u64,
    /// Begin of the period; null for all that is kept.
    pub since: Option<WallTime>,
    /// Its end.
    pub until: Option<WallTime>,
    /// Times within it in which something was not seen.
    pub gaps: u64,
    /// Connections that a way may have.
    pub depth: u32,
    /// Looks for connections that outlived later ones which did not come to the first: whoever was reached by one of those may be missing, or
    /// told later than it was.
    #[serde(default)]
    pub looked_back_in_part: u64,
    /// What is left out: `certificates` `depth` `nodes`.
    pub cut: Vec<Text>,
}

impl BlastRadiusSummaryRecord {
    /// Fingerprints that are named: a rotation makes a handful, an issuer thousands.
    pub const MAX_CERTIFICATES: usize = 100;
}
