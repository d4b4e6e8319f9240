//! Publication: what leaves the connection room becomes records.
//!
//! Enters: connections, certificates that were seen, findings, and what is needed beside them: who held the sockets,
//! the host's names, what is internal, the policy, the owners. Leaves: public records, each certificate parsed once and each finding of
//! the same subject folded into one. Refuses: handing records to anybody, and deciding when: the live agent and the replay
//! of captures do that, each in its own room.

mod belonging;
mod certificates;
mod compose;
mod edges;
mod findings;
mod host;
mod policy;
mod uses;
mod workloads;

pub use belonging::{Belonging, MAX_ANSWERS};
pub use certificates::Certificates;
pub use compose::{Chains, Holders, Source, Surroundings, compose};
pub use edges::{EdgeSizes, EdgeUse, Edges, MAX_EDGES, MAX_REACHED, NotedEdge, Reaching, Widest};
pub use findings::{FindingBook, MAX_FINDINGS};
pub use host::{Host, Interfaces};
pub use policy::{policy, policy_version};
pub use uses::{MAX_KEYS, Use, Uses, in_one_hand};
pub use workloads::{
    Expiring, ExpiringCertificate, Leaves, MAX_PRESENTED, MAX_WORKLOADS, Noted, WorkloadSizes, Workloads,
};
