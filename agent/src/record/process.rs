//! Processes in records.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ExecutableChange, Text, WallTime};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// In the initial PID namespace.
    pub pid: u32,
    /// Clock ticks since boot (`/proc/PID/stat` field 22).
    pub start_time: u64,
    /// The same as a time.
    pub started: Option<WallTime>,
    /// Path, as the process's own mount namespace has it.
    pub executable: Option<String>,
    /// Of the leader.
    pub comm: String,
    /// Real user id.
    pub uid: u32,
    /// Its name.
    pub user: Option<String>,
    /// Device of the executable's file: `major:minor`.
    #[serde(default)]
    pub executable_device: Option<String>,
    /// Inode of the executable's file.
    #[serde(default)]
    pub executable_inode: Option<u64>,
    /// What became of the executable's file since it was started; null: it is still there, or that is not known.
    #[serde(default)]
    pub executable_changed: Option<ExecutableChange>,
    /// Its parents, the nearest first, up to the leader of its session.
    #[serde(default)]
    pub parents: Vec<ParentRecord>,
    /// Inode of its PID namespace; null if that is the initial one or not known.
    #[serde(default)]
    pub pid_namespace: Option<u64>,
    /// Its pid there.
    #[serde(default)]
    pub namespace_pid: Option<u32>,
    /// Inode of the mount namespace in which `executable` is a path; null if that is the one of process 1 (the agent's where
    /// that is not shown), or not known.
    #[serde(default)]
    pub mount_namespace: Option<u64>,
}

/// A parent of a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct ParentRecord {
    /// In the initial PID namespace.
    pub pid: u32,
    /// Clock ticks since boot.
    pub start_time: u64,
    /// Of the leader.
    pub comm: String,
    /// Path.
    pub executable: Option<String>,
}

/// A process that held a socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HolderRecord {
    /// Which.
    pub process: Arc<ProcessRecord>,
    /// `connect` `accept` `use` `last_holder`.
    pub role: Text,
    /// `connect` `getpeername` `release` `listener` `iterator` `library`.
    pub source: Text,
}
