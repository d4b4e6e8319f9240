//! Identity: which program, user and workload stand behind a task that the kernel reported.
//!
//! Enters: process events and the tasks seen in hooks. Leaves: [`KnownProcess`], the record of a
//! process together with its workload, and a typed reason for every part that is missing.
//! Refuses: deciding who owns a connection, and reading anything a process could keep secret
//! (environment, memory, open files).
//!
//! ```text
//! fork ──► inherits its parent ─┐
//! exec ──► /proc/PID, at once ──┼─► ProcessTable ──► resolve(task) ──► KnownProcess
//! hook ──► /proc/PID, once ─────┘        ▲ users, cgroup v2 tree, workloads of cgroups (all cached)
//! ```
//! Files of `/proc` are read on the first sighting of a process only, those of container runtimes once per cgroup; pids are
//! guarded by the start time.

mod cgroup;
mod generations;
mod process;
mod procfs;
mod table;
#[cfg(test)]
mod tests;
mod users;
mod workload;

pub use cgroup::Hierarchies;
pub use generations::TableSize;
pub use process::{ExecutableSource, KnownProcess, ProcessUnknown, WallClock};
pub use procfs::Roots;
pub use table::{ProcessTable, ProcessTableLimits};
pub use workload::WorkloadUnknown;
