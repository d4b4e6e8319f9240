//! What is known about a process, and why the rest is not.

use std::borrow::Cow;
use std::sync::Arc;

use crate::event::{ProcessKey, Timestamp};
use crate::record::{ProcessRecord, WallTime, WorkloadRecord};

/// Nanoseconds of a clock tick of `/proc` (USER_HZ is 100 on every architecture in use, proc(5)).
pub(super) const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// Translates the events' clock into wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    /// Wall-clock nanoseconds since 1970 minus nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub wall_minus_boot: i64,
}

impl WallClock {
    /// `at` as a time of day.
    pub fn wall(self, at: Timestamp) -> WallTime {
        WallTime(self.wall_minus_boot.saturating_add_unsigned(at.0))
    }
}

/// A process as far as it is known; never changed once handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownProcess {
    /// Which.
    pub key: ProcessKey,
    /// Its public record.
    pub record: Arc<ProcessRecord>,
    /// What it belongs to; `None` if neither a unit nor an executable is known.
    pub workload: Option<Arc<WorkloadRecord>>,
    /// Where `record.executable` comes from.
    pub executable_source: ExecutableSource,
    /// Why the executable was not read from `/proc`.
    pub executable_unknown: Option<ProcessUnknown>,
    /// The program's file was deleted or replaced while it runs.
    pub executable_deleted: bool,
    /// A thread of the kernel: never the owner of a user's connection.
    pub kernel_thread: bool,
}

/// Where the path of an executable comes from, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutableSource {
    /// The link `/proc/PID/exe`: the file that runs; for a script its interpreter.
    Link,
    /// Its parent's, of which it is a fork that did not exec.
    Inherited,
    /// The absolute path given to execve(2): may be a symbolic link, or a script instead of its interpreter.
    ExecPath,
    /// The relative path given to execve(2): relative to a working directory that is not known.
    ExecRelativePath,
    /// Nowhere.
    Unknown,
}

impl ExecutableSource {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            ExecutableSource::Link => "proc",
            ExecutableSource::Inherited => "inherited",
            ExecutableSource::ExecPath => "exec_path",
            ExecutableSource::ExecRelativePath => "exec_relative_path",
            ExecutableSource::Unknown => "unknown",
        }
    }
}

/// Why a process, or its executable, is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessUnknown {
    /// It was gone (or its pid belonged to another one) before `/proc` could be read.
    ExitedBeforeRead,
    /// A thread of the kernel has no executable and owns no connection.
    KernelThread,
    /// The agent's `/proc` shows another PID namespace than the initial one, so pids mean others.
    OtherPidNamespace,
    /// The process table had no room.
    TableFull,
    /// The connection was never accepted by a process.
    NeverAccepted,
    /// Several multipath sockets have this address pair.
    MptcpAmbiguous,
    /// The socket is older than the agent, and no holder was found.
    BeforeAgent,
    /// `/proc` refused (CAP_SYS_PTRACE is missing, or hidepid is set).
    PermissionDenied,
    /// `/proc` said something that did not parse.
    Unreadable,
    /// The endpoint is on another host.
    Remote,
    /// The events that name the owner were lost.
    EventsLost,
    /// No hook showed a holder.
    NotSeen,
    /// A capture file names no process.
    CaptureFile,
}

impl ProcessUnknown {
    /// All of them.
    pub const ALL: &'static [ProcessUnknown] = &[
        ProcessUnknown::ExitedBeforeRead,
        ProcessUnknown::KernelThread,
        ProcessUnknown::OtherPidNamespace,
        ProcessUnknown::TableFull,
        ProcessUnknown::NeverAccepted,
        ProcessUnknown::MptcpAmbiguous,
        ProcessUnknown::BeforeAgent,
        ProcessUnknown::PermissionDenied,
        ProcessUnknown::Unreadable,
        ProcessUnknown::Remote,
        ProcessUnknown::EventsLost,
        ProcessUnknown::NotSeen,
        ProcessUnknown::CaptureFile,
    ];

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            ProcessUnknown::ExitedBeforeRead => "exited_before_read",
            ProcessUnknown::KernelThread => "kernel_thread",
            ProcessUnknown::OtherPidNamespace => "other_pid_namespace",
            ProcessUnknown::TableFull => "table_full",
            ProcessUnknown::NeverAccepted => "never_accepted",
            ProcessUnknown::MptcpAmbiguous => "mptcp_ambiguous",
            ProcessUnknown::BeforeAgent => "before_agent",
            ProcessUnknown::PermissionDenied => "permission_denied",
            ProcessUnknown::Unreadable => "unreadable",
            ProcessUnknown::Remote => "remote",
            ProcessUnknown::EventsLost => "events_lost",
            ProcessUnknown::NotSeen => "not_seen",
            ProcessUnknown::CaptureFile => "capture_file",
        }
    }
}

/// The parts of which a [`KnownProcess`] is made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parts {
    pub(super) comm: String,
    pub(super) uid: u32,
    pub(super) user: Option<String>,
    pub(super) executable: Option<String>,
    pub(super) source: ExecutableSource,
    pub(super) unknown: Option<ProcessUnknown>,
    pub(super) deleted: bool,
    pub(super) unit: Option<String>,
    pub(super) kernel_thread: bool,
}

impl Parts {
    /// Takes a process apart again, to make another one of it.
    pub(super) fn of(known: &KnownProcess) -> Parts {
        Parts {
            comm: known.record.comm.clone(),
            uid: known.record.uid,
            user: known.record.user.clone(),
            executable: known.record.executable.clone(),
            source: known.executable_source,
            unknown: known.executable_unknown,
            deleted: known.executable_deleted,
            unit: known.workload.as_ref().and_then(|workload| workload.unit.clone()),
            kernel_thread: known.kernel_thread,
        }
    }

    pub(super) fn assemble(self, key: ProcessKey, clock: WallClock) -> KnownProcess {
        let workload = self.workload().map(Arc::new);
        let started = (key.start_time != 0).then(|| clock.wall(Timestamp(key.start_time)));
        KnownProcess {
            key,
            workload,
            executable_source: self.source,
            executable_unknown: self.unknown,
            executable_deleted: self.deleted,
            kernel_thread: self.kernel_thread,
            record: Arc::new(ProcessRecord {
                pid: key.pid,
                start_time: key.start_time / NANOSECONDS_PER_TICK,
                started,
                executable: self.executable,
                comm: self.comm,
                uid: self.uid,
                user: self.user,
                ..ProcessRecord::default()
            }),
        }
    }

    /// A container or pod is to be preferred to the unit here, once they are known.
    fn workload(&self) -> Option<WorkloadRecord> {
        let named = |kind: &'static str, name: &str| WorkloadRecord {
            kind: kind.into(),
            name: name.to_owned(),
            ..WorkloadRecord::default()
        };
        if self.kernel_thread {
            return Some(named("kernel", &self.comm));
        }
        if let Some(unit) = &self.unit {
            return Some(WorkloadRecord { unit: Some(unit.clone()), ..named("systemd", unit) });
        }
        self.executable.as_deref().map(|path| named("executable", path))
    }
}

/// A name as the kernel keeps it: NUL-padded, any bytes.
pub(super) fn comm_text(comm: &[u8]) -> Cow<'_, str> {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end])
}

/// The start time to look for in `/proc`; `None` if the kernel did not say.
pub(super) fn ticks(key: ProcessKey) -> Option<u64> {
    (key.start_time != 0).then_some(key.start_time / NANOSECONDS_PER_TICK)
}
