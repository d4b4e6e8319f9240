//! What tells one revision of a connection from the next.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use rustc_hash::FxHasher;

use crate::connection::{Connection, LibrarySummary};
use crate::identity::KnownProcess;
use crate::publication::{EdgeUse, Noted, Use};
use crate::record::{Authentication, ConnectionRecord, SideName};
use crate::tls::UnknownReason;
use crate::verdict::{self, Code};

/// What is remembered of a connection between its revisions.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) revision: u32,
    pub(super) digest: u64,
    pub(super) counted: bool,
    /// Findings that were handed out, see [`finding_bit`].
    pub(super) noted: u32,
    /// What it has said of the workloads at its ends.
    pub(super) workloads: Noted,
    /// The keys that were presented at its ends.
    pub(super) uses: [Option<Use>; 2],
    /// The edge between its ends.
    pub(super) edge: Option<EdgeUse>,
    /// What was concluded, and what libraries had contributed.
    pub(super) answer: (Authentication, Option<UnknownReason>),
    pub(super) library: LibrarySummary,
    pub(super) credential: bool,
    /// See [`guesses_presenter`].
    pub(super) guess: bool,
    /// Who held the client's socket, then who held the server's.
    pub(super) holders: Box<[Arc<KnownProcess>]>,
    pub(super) of_client: u8,
}

impl Published {
    pub(super) fn client(&self) -> &[Arc<KnownProcess>] {
        &self.holders[..usize::from(self.of_client)]
    }

    pub(super) fn server(&self) -> &[Arc<KnownProcess>] {
        &self.holders[usize::from(self.of_client)..]
    }
}

/// What workloads are counted by.
pub(super) fn answer(connection: &Connection) -> (Authentication, Option<UnknownReason>) {
    (connection.conclusion.authentication, connection.conclusion.reason)
}

/// One bit per code, and per side where it is about one.
pub(super) fn finding_bit(finding: &verdict::Finding) -> u32 {
    const { assert!(Code::ALL.len() <= 16, "two sides fit into 32 bits") };
    let of_client = finding.side == Some(SideName::Client);
    1 << (finding.code as u32 + if of_client { 16 } else { 0 })
}

/// What makes a new revision: authentication, evidence, owners, identities, findings.
pub(super) fn digest(record: &ConnectionRecord) -> u64 {
    let mut hash = FxHasher::default();
    (record.authentication, record.encryption, record.scope, record.decided.is_some()).hash(&mut hash);
    (record.evidence.server, record.evidence.client, &record.evidence.reason).hash(&mut hash);
    record.evidence.disagreement.hash(&mut hash);
    (record.confidence.server, record.confidence.client, &record.protocol).hash(&mut hash);
    for endpoint in [&record.client, &record.server] {
        (&endpoint.address, endpoint.port, &endpoint.identity, &endpoint.owner_source).hash(&mut hash);
        (&endpoint.certificates, endpoint.verification, &endpoint.labels).hash(&mut hash);
        let fit = endpoint.identity_fit.as_ref();
        fit.map(|fit| (fit.status, &fit.rule, &fit.expected, &fit.reason)).hash(&mut hash);
        endpoint.workload.hash(&mut hash);
        for holder in &endpoint.processes {
            (holder.process.pid, holder.process.start_time, &holder.role, &holder.process.executable)
                .hash(&mut hash);
        }
    }
    (&record.credential_in_clear, &record.upgraded_from).hash(&mut hash);
    record.findings.hash(&mut hash);
    hash.finish()
}
