//! The public record, version 1: what users, scripts and other systems read.
//!
//! Enters: nothing. Leaves: serialisable types with the names of the contract. They are filled by
//! the `publication` room from facts and findings; no kernel layout and no internal type shows through.
//! Fields are added, never renamed; a field that is `null` was not evaluated or does not apply.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

mod blast_radius;
mod certificate;
mod connection;
mod edge;
mod event;
mod explanation;
mod finding;
mod identity;
mod library;
mod name;
mod page;
mod process;
#[cfg(test)]
pub(crate) mod sample;
mod subject;
mod time;
mod workload;
mod workload_history;

pub use blast_radius::{
    BLAST_RADIUS_SCHEMA, BLAST_RADIUS_SUMMARY_SCHEMA, BlastRadiusRecord, BlastRadiusSummaryRecord,
    DirectRecord, RelationName, StepRecord,
};
pub use certificate::{CERTIFICATE_SCHEMA, CertificateRecord, SubjectAlternativeNames};
pub use connection::*;
pub use edge::{EDGE_SCHEMA, EdgeRecord, NodeRecord};
pub use event::*;
pub use explanation::{EXPLANATION_SCHEMA, ExplanationRecord, ExplanationStepRecord};
pub use finding::{ExceptionRecord, FINDING_SCHEMA, FindingRecord, GAP_SCHEMA, GapRecord};
pub use identity::{IDENTITY_SCHEMA, IdentityRecord, IdentityUseRecord};
pub use library::{LIBRARY_SCHEMA, LibraryFileRecord, LibraryFiles, ProbeState};
pub use name::*;
pub use page::{PAGE_SCHEMA, PageRecord};
pub use process::{HolderRecord, ParentRecord, ProcessRecord};
pub use subject::{SUBJECT_SCHEMA, SubjectRecord};
pub use time::WallTime;
pub use workload::{
    IdentityFitRecord, KnownWorkloadRecord, LabelsRecord, LastProcessRecord, LeftOutRecord, PresentedRecord,
    RoleRecord, WORKLOAD_SCHEMA, WorkloadRecord,
};
pub use workload_history::{ShownRecord, WORKLOAD_HISTORY_SCHEMA, WorkloadHistoryRecord};

/// Text that is one of the names of the contract when it is written, and anything when it is read.
pub type Text = Cow<'static, str>;

/// One line of every `--json` output.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Record {
    /// `countersign.connection/1`
    Connection(Arc<ConnectionRecord>),
    /// `countersign.certificate/1`
    Certificate(Arc<CertificateRecord>),
    /// `countersign.finding/1`
    Finding(Arc<FindingRecord>),
    /// `countersign.gap/1`
    Gap(Arc<GapRecord>),
}
