//! The values that labels can have. Nothing else ever becomes one.

use crate::event::Event;
use crate::identity::ProcessUnknown;
use crate::record::{
    Authentication, CERTIFICATE_SCHEMA, CONNECTION_SCHEMA, FINDING_SCHEMA, GAP_SCHEMA, ProbeState, Record,
    Scope, SideName,
};

/// Stands for every value that is not in the set.
pub(super) const OTHER: &str = "other";

/// Protocols of a connection record.
pub(super) const PROTOCOLS: &[&str] = &[
    "tls",
    "unknown",
    "silent",
    "http/1",
    "http/2",
    "ssh",
    "smtp",
    "imap",
    "pop3",
    "ftp",
    "ldap",
    "xmpp",
    "postgresql",
    "mysql",
    "redis",
    "mongodb",
    "kafka",
    "amqp",
    "mqtt",
    "dns",
    "memcached",
    "nats",
    "socks",
    "http_connect",
];
/// TLS versions of a connection record; `none`: not TLS; `1.3-draft`: any draft of 1.3, and Facebook's variants.
pub(super) const VERSIONS: &[&str] =
    &["none", "unknown", "SSLv2", "SSLv3", "1.0", "1.1", "1.2", "1.3", "1.3-draft"];
/// What can be unknown.
pub(super) const UNKNOWN_ABOUT: &[&str] = &["authentication", "capture", "process"];
/// Why bytes are missing.
pub(super) const TRUNCATION_REASONS: &[&str] =
    &["lost", "budget", "truncated", "mid_stream", "malformed", "conflicting"];
/// Tables with a bound.
pub(super) const TABLES: &[&str] = &[
    "connections",
    "held_bytes",
    "processes",
    "cgroups",
    "cgroup_paths",
    "certificates",
    "workloads",
    "workload_certificates",
    "edges",
    "reached",
    "sessions",
    "early",
    "users",
    "rule_answers",
    "findings",
    "keys",
    "decisions",
    "probed_files",
    "examined_files",
    "process_notices",
];
/// Why authentication, capture or owner are not known, beside [`ProcessUnknown`].
const UNKNOWN_REASONS: &[&str] = &[
    "none_given",
    "incomplete",
    "mid_stream",
    "lost",
    "budget",
    "truncated",
    "malformed",
    "conflicting",
    "resumption_origin_not_visible",
    "resumption_origin_not_seen",
    "padding_or_unrecognised",
    "contradiction",
    "early_data",
    "unknown_suite",
    "version_not_evaluated",
    "certificate_type",
    "renegotiation",
    "outcome_not_visible",
    "bypassed",
    "other_protocol",
    "switch_not_seen",
    "protocol_not_recognised",
    "evidence_disagrees",
];

/// `value` as the member of `set` that it equals, else [`OTHER`].
pub(super) fn other_than(set: &[&'static str], value: &str) -> &'static str {
    set.iter().find(|member| **member == value).copied().unwrap_or(OTHER)
}

/// Any reason that a record can give.
pub(super) fn unknown_reason(reason: &str) -> &'static str {
    let of_process = ProcessUnknown::ALL.iter().map(|unknown| unknown.as_str());
    UNKNOWN_REASONS.iter().copied().chain(of_process).find(|known| *known == reason).unwrap_or(OTHER)
}

/// Whose socket is on this host.
pub(super) fn role(observed_from: &[SideName]) -> &'static str {
    match (observed_from.contains(&SideName::Client), observed_from.contains(&SideName::Server)) {
        (true, true) => "both",
        (true, false) => "client",
        (false, true) => "server",
        (false, false) => "none",
    }
}

/// Every schema.
pub(super) const SCHEMAS: &[&str] = &[CONNECTION_SCHEMA, CERTIFICATE_SCHEMA, FINDING_SCHEMA, GAP_SCHEMA];

pub(super) fn schema(record: &Record) -> &'static str {
    match record {
        Record::Connection(_) => CONNECTION_SCHEMA,
        Record::Certificate(_) => CERTIFICATE_SCHEMA,
        Record::Finding(_) => FINDING_SCHEMA,
        Record::Gap(_) => GAP_SCHEMA,
    }
}

/// Why an event of a library was not taken.
pub(super) const LIBRARY_LOSSES: [&str; 4] = ["unreadable", "ring_half_full", "long_chain", "not_remembered"];

/// Why a file was passed over.
pub(super) const PASSED_OVER: [&str; 2] = ["too_many_mappings", "unreadable"];

/// What a pass over open files may not be shown.
pub(super) const OPEN_FILES: [&str; 3] = ["processes", "namespaces", "sockets"];

/// Whether an exception sets a finding apart: no, yes.
pub(super) const EXCEPTED: [&str; 2] = ["false", "true"];

/// Every kind of edge.
pub(super) fn edges() -> impl Iterator<Item = (Scope, Authentication)> {
    let answers = |scope| Authentication::ALL.iter().map(move |answer| (scope, *answer));
    Scope::ALL.iter().copied().flat_map(answers)
}

/// How an edge gets weaker, save for what is rare: keys shared beforehand, and TLS in which nobody has a certificate.
pub(super) const REGRESSIONS: [(Authentication, Authentication); 3] = [
    (Authentication::Mutual, Authentication::ServerOnly),
    (Authentication::Mutual, Authentication::None),
    (Authentication::ServerOnly, Authentication::None),
];

/// Whether a file is probed; what only could be is of no daemon's.
pub(super) const PROBE_STATES: [ProbeState; 2] = [ProbeState::Probed, ProbeState::NotProbed];

macro_rules! label_values {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),+ }
        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The label's value.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}

label_values! {
    /// A stage of the pipeline, for its time.
    Stage {
        /// Draining and decoding the kernel's ring.
        KernelDrain = "kernel_drain",
        /// Processes, reassembly, TLS and the connection table.
        Connection = "connection",
        /// Certificates, findings, records and those who read them.
        Publish = "publish",
        /// Looking for TLS libraries.
        Discovery = "discovery",
    }
}

label_values! {
    /// How an attempt to read the configuration again went.
    ConfigReload {
        /// It is in force.
        Applied = "applied",
        /// It was wrong; the old one is in force.
        Refused = "refused",
    }
}

label_values! {
    /// What the history is doing, and why it does not take records.
    HistoryState {
        /// It is not wanted.
        Off = "off",
        /// Records are written.
        Writing = "writing",
        /// No room is left on the disk.
        Full = "full",
        /// The file or its file system cannot be written.
        ReadOnly = "read_only",
        /// Another process holds the file.
        Locked = "locked",
        /// The file is damaged.
        Corrupt = "corrupt",
        /// The file is a later program's, or none of this one's.
        Foreign = "foreign",
        /// Anything else.
        Failed = "failed",
    }
}

label_values! {
    /// Why a record is not in the history.
    HistoryLoss {
        /// The disk was slower than the connections.
        Slow = "slow",
        /// [`HistoryState::Full`]
        Full = "full",
        /// [`HistoryState::ReadOnly`]
        ReadOnly = "read_only",
        /// [`HistoryState::Locked`]
        Locked = "locked",
        /// [`HistoryState::Corrupt`]
        Corrupt = "corrupt",
        /// [`HistoryState::Foreign`]
        Foreign = "foreign",
        /// [`HistoryState::Failed`]
        Failed = "failed",
        /// It is none that an agent makes.
        Refused = "refused",
    }
}

label_values! {
    /// Why a connection left the history.
    HistoryRemoval {
        /// It was older than what is kept.
        Age = "age",
        /// There was no room for it.
        Size = "size",
        /// It is only counted any more.
        Folded = "folded",
    }
}

label_values! {
    /// Kinds of [`Event`].
    EventKind {
        /// [`Event::Connect`]
        Connect = "connect",
        /// [`Event::PeerAsked`]
        PeerAsked = "peer_asked",
        /// [`Event::Released`]
        Released = "released",
        /// [`Event::Established`]
        Established = "established",
        /// [`Event::Segment`]
        Segment = "segment",
        /// [`Event::Closed`]
        Closed = "closed",
        /// [`Event::Existing`]
        Existing = "existing",
        /// [`Event::Subflow`]
        Subflow = "subflow",
        /// [`Event::ProcessForked`]
        ProcessForked = "process_forked",
        /// [`Event::ProcessExecuted`]
        ProcessExecuted = "process_executed",
        /// [`Event::ProcessExited`]
        ProcessExited = "process_exited",
        /// [`Event::LibraryBytes`]
        LibraryBytes = "library_bytes",
        /// [`Event::LibraryVerification`]
        LibraryVerification = "library_verification",
        /// [`Event::LibrariesChanged`]
        LibrariesChanged = "libraries_changed",
        /// [`Event::Lost`]
        Lost = "lost",
    }
}

impl EventKind {
    /// The kind of an event.
    pub fn of(event: &Event) -> EventKind {
        match event {
            Event::Connect(_) => EventKind::Connect,
            Event::PeerAsked(_) => EventKind::PeerAsked,
            Event::Released(_) => EventKind::Released,
            Event::Established(_) => EventKind::Established,
            Event::Segment(_) => EventKind::Segment,
            Event::Closed(_) => EventKind::Closed,
            Event::Existing(_) => EventKind::Existing,
            Event::Subflow { .. } => EventKind::Subflow,
            Event::ProcessForked { .. } => EventKind::ProcessForked,
            Event::ProcessExecuted { .. } => EventKind::ProcessExecuted,
            Event::ProcessExited { .. } => EventKind::ProcessExited,
            Event::LibraryBytes(_) => EventKind::LibraryBytes,
            Event::LibraryVerification(_) => EventKind::LibraryVerification,
            Event::LibrariesChanged { .. } => EventKind::LibrariesChanged,
            Event::Lost { .. } => EventKind::Lost,
        }
    }
}
